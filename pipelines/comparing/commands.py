"""The command that trains a recipe with the settings of a recorded run."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from itertools import chain

from data.errors import BadInput
from pipelines import recipes, settings
from pipelines.settings import Recipe

ARGUMENTS, ARGUMENTS_FLAG = "optimizer.arguments.", "--optimizer.arguments"
"""What begins the paths of a recipe's further arguments, and the flag that gives some to one that has none."""


def train(name: str, params: Mapping[str, str], seeds: int) -> str:
    """``make train-NAME`` with so many seeds and the flags by which a run differs from the recipe as it is now.

    Args:
        name: the recipe's.
        params: of the run, as they were recorded.
        seeds: to train with, whatever the run's own was.

    Returns:
        The command; empty where the recipe is not known, or flags can't express the difference: another architecture,
        another number of stages, fields of another version of the code.
    """
    epochs = sum(int(value) for path, value in params.items() if re.fullmatch(r"stages\.\d+\.epochs", path))
    try:
        recipe = recipes.find(name)
        stretched = recipe.with_epochs(epochs)
    except BadInput:
        return ""
    flags = _flags(recipe, params)
    others = _flags(stretched, params)
    if epochs != recipe.epochs and others is not None and not any(flag.startswith("--stages.") for flag in others):
        flags = ["--epochs", str(epochs), *others]
    line = " ".join(map(shlex.quote, flags or []))
    if flags is None or re.search(r'["$`\\!]', line):  # the shell and make would read these within the quotes
        return ""
    return f"make train-{name} SEEDS={seeds}" + (f' ARGS="{line}"' if line else "")


def _flags(recipe: Recipe, params: Mapping[str, str]) -> list[str] | None:
    """The flags that turn a recipe into that of a run with these parameters; None where there are none that do."""
    default = settings.flatten(settings.to_dict(recipe))
    wanted, flags = dict(params), []
    if not any(path.startswith(ARGUMENTS) for path in default):  # else each of them has a flag of its own
        added = [path for path in params if path.startswith(ARGUMENTS)]
        if added:
            pairs = ((path.removeprefix(ARGUMENTS), wanted.pop(path)) for path in added)
            flags = [ARGUMENTS_FLAG, *chain.from_iterable(pairs)]
    if default.keys() != wanted.keys() or default["model.kind"] != wanted["model.kind"]:
        return None
    changed = (path for path, value in default.items() if path != "seed" and str(value) != wanted[path])
    return [*chain.from_iterable(_flag(path, default[path], wanted[path]) for path in changed), *flags]


def _flag(path: str, default: object, value: str) -> list[str]:
    """A parameter as the command line takes it."""
    parents, _, last = path.replace("_", "-").rpartition(".")
    start = f"--{parents}." if parents else "--"
    if isinstance(default, bool):
        return [f"{start}{last}" if value == "True" else f"{start}no-{last}"]
    if isinstance(default, list | tuple):
        return [f"{start}{last}", *map(str, ast.literal_eval(value))]
    return [f"{start}{last}", value]
