"""Architectures: frozen dataclasses of hyperparameters whose ``build(spec)`` returns a ``keras.Model``.

A model is added by writing one class in a file of this folder: every subclass of :class:`models.base.Model` found here
can stand in a recipe and be read back from a record. These files are imported without Keras, so that what only reads
records answers at once; what needs it lies in ``parts``.
"""

import importlib
import pkgutil


def import_architectures() -> None:
    """Import every file of this folder, so that all architectures are known by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def import_all() -> None:
    """Import the parts, too, so that Keras knows the layers of a recorded network."""
    import_architectures()
    from models import parts

    for module in pkgutil.iter_modules(parts.__path__):
        importlib.import_module(f"{parts.__name__}.{module.name}")
