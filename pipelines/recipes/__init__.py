"""The recipes: each is a function whose docstring says its command, cost and result.

A recipe is added by writing one such function in a file of this folder; its name with dashes is what
``make train-NAME`` takes.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from data.errors import BadInput
from pipelines.settings import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {}


def recipe(make: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Make a recipe known by its function's name, with dashes."""
    RECIPES[make.__name__.replace("_", "-")] = make
    return make


def find(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        BadInput: there is none.
    """
    if name not in RECIPES:
        raise BadInput("no such recipe", name, f"there are {', '.join(sorted(RECIPES))}")
    return RECIPES[name]()


def summaries() -> dict[str, str]:
    """The first line of each recipe's description."""
    return {name: make.__doc__.splitlines()[0] for name, make in sorted(RECIPES.items())}


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
