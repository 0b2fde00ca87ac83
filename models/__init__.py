"""Architectures: frozen dataclasses of hyperparameters whose ``build(spec)`` returns a ``keras.Model``.

A model is added by writing one class in a file of this folder: every subclass of
:class:`models.base.Model` found here can stand in a recipe and be read back from a record.
"""

import importlib
import pkgutil


def import_all() -> None:
    """Import every file of this package, so that all architectures are known by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
