"""The recipes: each is a function whose docstring says its command, cost and result.

A recipe is added by writing one such function in a file of this folder; its name with dashes is what
``make train-NAME`` takes. A function that gives its search space may stand beside it: see :mod:`pipelines.space`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from data.errors import BadInput
from pipelines.settings import Recipe
from pipelines.space import Space, around

RECIPES: dict[str, Callable[[], Recipe]] = {}
SPACES: dict[str, Callable[[], Space]] = {}


def recipe(make: Callable[[], Recipe]) -> Callable[[], Recipe]:
    """Make a recipe known by its function's name, with dashes."""
    RECIPES[make.__name__.replace("_", "-")] = make
    return make


def space(name: str) -> Callable[[Callable[[], Space]], Callable[[], Space]]:
    """Make a search space known as that of the recipe of this name."""

    def register(make: Callable[[], Space]) -> Callable[[], Space]:
        SPACES[name] = make
        return make

    return register


def find_space(name: str, recipe: Recipe) -> Space:
    """The search space of the recipe of this name; one around its learning rate where none is declared."""
    return SPACES[name]() if name in SPACES else around(recipe)


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
