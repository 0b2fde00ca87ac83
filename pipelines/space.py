"""Search spaces: for fields of a recipe, by their dotted paths, the values that a search may try.

A space is declared beside its recipe, as a function that gives ranges by path::

    @space("digits-mlp")
    def digits_mlp_space() -> Space:
        return {
            "optimizer.name": Choice(("adam", "sgd")),
            "optimizer.learning_rate": Float(1e-4, 1e-1, log=True),
            "optimizer.arguments.momentum": Float(0.5, 0.99, when=("optimizer.name", ("sgd",))),
            "model.units.0": Int(16, 256, log=True),
        }
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from data.errors import BadInput
from pipelines import settings
from pipelines.settings import Recipe

Value = bool | int | float | str
Condition = tuple[str, tuple[Value, ...]]

GRID_POINTS = 4
"""Values of a range without a step that a grid takes."""


@dataclass(frozen=True)
class Float:
    """Real numbers from ``low`` to ``high``."""

    low: float
    high: float
    step: float | None = None
    """Distance of neighbours; with ``log`` their ratio; None: any number."""
    log: bool = False
    """Whether equal ratios are equally likely, not equal distances."""
    when: Condition | None = None
    """Another path, and those of its values under which this one is searched; else the recipe's own value stays."""


@dataclass(frozen=True)
class Int:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int
    step: int | None = None
    log: bool = False
    when: Condition | None = None


@dataclass(frozen=True)
class Choice:
    """One of some values of one kind."""

    values: tuple[Value, ...]
    when: Condition | None = None


Range = Float | Int | Choice
Space = Mapping[str, Range]

LEARNING_RATE = "optimizer.learning_rate"


def around(recipe: Recipe) -> Space:
    """The space of a recipe that declares none: its learning rate, from a tenth to ten times of it."""
    rate = recipe.optimizer.learning_rate
    return {LEARNING_RATE: Float(rate / 10, rate * 10, log=True)}


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with other values at some paths.

    Raises:
        BadInput: it has no such path, or the value does not fit there.
    """
    plain = copy.deepcopy(settings.to_dict(recipe))
    for path, value in values.items():
        _set(plain, path, value)
    return settings.from_dict(plain)


def _set(plain: dict, path: str, value: Value) -> None:
    *parents, last = path.split(".")
    place = plain
    try:
        for key in parents:
            place = place[int(key)] if isinstance(place, list | tuple) else place[key]
        if isinstance(place, list | tuple):
            place[int(last)] = value
        elif last in place or parents[-1:] == ["arguments"]:
            place[last] = value
        else:
            raise KeyError(last)
    except (KeyError, IndexError, ValueError, TypeError):
        raise BadInput("the recipe has no such field", f"search space, {path}", "name one of recipe.json's") from None


def check(space: Space, recipe: Recipe) -> None:
    """Refuse a space that does not fit its recipe.

    Raises:
        BadInput: a path or a value does not exist in the recipe, or a condition names no other range.
    """
    for path, values in space.items():
        if values.when and values.when[0] not in space:
            raise BadInput(f"depends on {values.when[0]}, which is not searched", f"search space, {path}", "add it")
        for value in _ends(values):
            with_values(recipe, {path: value}).check()


def _ends(values: Range) -> tuple[Value, ...]:
    return values.values if isinstance(values, Choice) else (values.low, values.high)


def for_grid(space: Space) -> Space:
    """The space with a few values for each range that has no step: a grid needs a finite number."""
    return {path: _stepped(values) for path, values in space.items()}


def _stepped(values: Range) -> Range:
    if isinstance(values, Choice) or values.step is not None:
        return values
    if isinstance(values, Float):
        parts = GRID_POINTS - 1
        step = (values.high / values.low) ** (1 / parts) if values.log else (values.high - values.low) / parts
        return replace(values, step=step)
    spread = [values.low + (values.high - values.low) * part / (GRID_POINTS - 1) for part in range(GRID_POINTS)]
    if values.log:
        spread = [values.low * (values.high / values.low) ** (part / (GRID_POINTS - 1)) for part in range(GRID_POINTS)]
    return Choice(tuple(dict.fromkeys(round(value) for value in spread)), values.when)


def describe(space: Space) -> dict[str, str]:
    """Each range in words, by path."""
    return {path: _words(values) for path, values in space.items()}


def _words(values: Range) -> str:
    if isinstance(values, Choice):
        text = " or ".join(map(str, values.values))
    else:
        step = f", step {values.step:g}" if values.step is not None else ""
        text = f"{values.low:g} to {values.high:g}{' log' if values.log else ''}{step}"
    return text + (f", if {values.when[0]} is {' or '.join(map(str, values.when[1]))}" if values.when else "")


def short_names(space: Space) -> dict[str, str]:
    """For each path its end, where that says enough."""
    ends = [path.rpartition(".")[2] for path in space]
    clear = [end.isidentifier() and ends.count(end) == 1 for end in ends]
    return {path: end if say else path for path, end, say in zip(space, ends, clear, strict=True)}


def text(value: object) -> str:
    """A value for people; nothing where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def to_dict(space: Space) -> dict[str, dict]:
    """The space as plain data."""
    return {path: {"kind": type(values).__name__, **asdict(values)} for path, values in space.items()}
