"""The sides of a comparison: which runs the references mean, and whether they can be compared at all."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from data.errors import BadInput
from pipelines.tracking import recorded
from pipelines.tracking.recorded import Facts, Recorded

MOST = 8
"""Sides of one comparison: as many colours can be told apart."""

FILTER = "recipe="

STAGES = ("train", "transfer")
"""Whose runs end with a scored model."""

OTHER = "none"
"""Shown for a parameter that a side does not have."""


@dataclass(frozen=True)
class Member:
    """One training of a side."""

    run: Recorded
    facts: Facts
    predictions: pd.DataFrame | None = None
    """By row of the test set: ``label``, ``predicted``, ``probabilities``; of an autoencoder ``error``."""
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Steps and values of each metric."""

    @property
    def setting(self) -> tuple[object, ...]:
        """What two trainings have in common that differ in their seed alone."""
        params = {name: value for name, value in self.facts.params.items() if name != "seed"}
        return self.facts.tags["recipe"], self.facts.tags["data.sha256"], *sorted(params.items())

    @property
    def stands_in_for(self) -> str:
        """The dataset that was asked for where embedded data stood in for it; else empty."""
        asked = self.facts.params.get("data.name", self.run.experiment)
        embedded = self.facts.tags["data.source"] == "embedded"
        return asked if embedded and asked != self.run.experiment else ""


@dataclass(frozen=True)
class Side:
    """One or more trainings that are compared as one."""

    letter: str
    name: str
    members: tuple[Member, ...]

    @property
    def recipe(self) -> str:
        """The name of its recipe."""
        return self.members[0].facts.tags["recipe"]

    @property
    def task(self) -> str:
        """classification, sequence or autoencoding."""
        return self.members[0].facts.tags["task"]

    @property
    def classifies(self) -> bool:
        """Whether it gives classes, not images."""
        return self.task != "autoencoding"

    @cached_property
    def labels(self) -> np.ndarray:
        """Of the test rows, (N,)."""
        return self.members[0].predictions["label"].to_numpy()

    @cached_property
    def predicted(self) -> np.ndarray:
        """Classes by training and row, (S, N)."""
        return np.stack([member.predictions["predicted"].to_numpy() for member in self.members])

    @cached_property
    def right(self) -> np.ndarray:
        """Whether they are right, (S, N)."""
        return self.predicted == self.labels

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Of each class, the mean over the trainings, (N, classes)."""
        tables = (np.stack(member.predictions["probabilities"].to_numpy()) for member in self.members)
        return np.mean([*tables], axis=0)

    @cached_property
    def scores(self) -> np.ndarray:
        """By row, (N,): the share of the trainings that are right, or their mean squared error."""
        if self.classifies:
            return self.right.mean(axis=0)
        return np.mean([member.predictions["error"].to_numpy(np.float64) for member in self.members], axis=0)

    def values(self, metric: str) -> list[float]:
        """A final metric of each training."""
        return [member.facts.metrics[metric] for member in self.members if metric in member.facts.metrics]

    def params(self) -> dict[str, str]:
        """What it was trained by: parameters, and what else decides a result; several values with commas."""
        found: dict[str, dict[str, None]] = {}  # a dictionary keeps its order
        for member in self.members:
            tags = member.facts.tags
            others = {"device": tags.get("device"), "backend": tags.get("keras.backend")}
            others |= {"precision used": tags.get("precision"), "commit": tags.get("git.commit", "")[:12]}
            others |= {"training data": tags.get("data.sha256", "")[:12]}
            for name, value in {"recipe": tags["recipe"], **member.facts.params, **others}.items():
                found.setdefault(name, {})[value or OTHER] = None
        return {name: ", ".join(values) for name, values in found.items()}


def gather(references: Sequence[str]) -> list[Side]:
    """The sides that references mean, with their predictions and histories.

    Args:
        references: ids, names, ``last``, or ``recipe=NAME``: the trainings of a recipe on the test set of the first
            run that is named, else of the recipe's newest one, those as one side that differ in their seed alone.

    Raises:
        BadInput: they can't be found, or not be compared.
    """
    runs = {reference: _of_run(reference) for reference in references if not reference.startswith(FILTER)}
    sides: list[Side] = []
    for reference in references:
        decisive = next(iter(runs.values()), sides[0] if sides else None)
        digest = decisive.members[0].facts.tags["data.test_sha256"] if decisive else ""
        sides += [runs[reference]] if reference in runs else _of_recipe(reference, digest)
    if len(sides) < 2:
        raise BadInput("nothing to compare it with", " ".join(references) or "RUNS=", "give two runs or more")
    if len(sides) > MOST:
        raise BadInput(f"{len(sides)} are too many to compare", " ".join(references), f"name at most {MOST}")
    check(sides)
    return [
        replace(side, letter=letter, members=tuple(map(_read, side.members)))
        for letter, side in zip(string.ascii_uppercase, sides, strict=False)
    ]


def check(sides: Sequence[Side]) -> None:
    """Refuse what can't be compared.

    Raises:
        BadInput: a run is on two sides, or they were scored on different tasks or test sets.
    """
    seen: dict[str, str] = {}
    for side in sides:
        for member in side.members:
            if member.run.id in seen:
                raise BadInput("is named twice", f"run {member.run.name}", "compare it with another")
            seen[member.run.id] = side.name
    first = sides[0].members[0]
    for member in (member for side in sides for member in side.members):
        mine, theirs = member.facts.tags, first.facts.tags
        if mine["task"] != theirs["task"]:
            what = f"is a run of {mine['task']}, and {first.run.name} of {theirs['task']}"
            raise BadInput(what, f"run {member.run.name}", "compare runs of one task")
        if mine["data.test_sha256"] != theirs["data.test_sha256"]:
            what = f"was scored on {_test_set(member)}, and {first.run.name} on {_test_set(first)}"
            raise BadInput(what, f"run {member.run.name}", "compare runs that were scored on the same test set")


def _test_set(member: Member) -> str:
    """The data a run was scored on, in words."""
    tags = member.facts.tags
    stands_in = f"stand-in for {member.stands_in_for}, " if member.stands_in_for else ""
    return f"{member.run.experiment} ({stands_in}{tags['data.source']}, test set {tags['data.test_sha256'][:8]})"


def _of_run(reference: str) -> Side:
    """The side that a run is; a group of seeds is that of its trainings."""
    run = recorded.find(reference)
    facts = recorded.facts(run)
    where = f"run {run.name}"
    if facts.tags.get("stage") not in STAGES:
        what = f"was recorded by {facts.tags.get('stage', 'another program')}, not by a training"
        raise BadInput(what, where, "compare trainings")
    if facts.status != "FINISHED":
        raise BadInput(f"has not finished ({facts.status})", where, "compare finished runs")
    if facts.tags.get("group") != "seeds":
        return Side("", run.name, (Member(run, facts),))
    members = tuple(Member(member, recorded.facts(member)) for member in recorded.members(run))
    if not members:
        raise BadInput("is a group without a finished training", where, "choose another")
    return Side("", run.name, members)


def _of_recipe(reference: str, digest: str) -> list[Side]:
    """A side for each setting in which a recipe was trained.

    Args:
        reference: recipe=NAME.
        digest: of the test set; empty for that of the newest training.
    """
    name = reference.removeprefix(FILTER)
    found = [Member(run, recorded.facts(run)) for run in recorded.of_recipe(name)]
    found = [member for member in found if member.facts.tags.get("stage") in STAGES]
    digest = digest or (found[-1].facts.tags["data.test_sha256"] if found else "")
    settings: dict[tuple, dict[str, Member]] = {}
    for member in found:
        if member.facts.tags["data.test_sha256"] == digest:
            # A training that was repeated with its seed is no further sample of what seeds do: the first one counts.
            settings.setdefault(member.setting, {}).setdefault(member.facts.params.get("seed", ""), member)
    if not settings:
        what = "no finished training of this recipe" + (" on that test set" if found else "")
        raise BadInput(what, reference, f"see make ui, or make train-{name}")
    sides = [Side("", name, tuple(members.values())) for members in settings.values()]
    return [replace(side, name=_named(side, sides)) for side in sides]


def _named(side: Side, others: Sequence[Side]) -> str:
    """A recipe's name and the parameters that its settings differ in."""
    rows = [row for row in differing(others) if row[0] not in ("seed", "commit", "device")]
    place = [*others].index(side) + 1
    shown = ", ".join(f"{row[0]} {row[place]}" for row in rows[:3]) + (", …" if len(rows) > 3 else "")
    return f"{side.recipe} ({shown})" if shown else side.recipe


def differing(sides: Sequence[Side]) -> list[tuple[str, ...]]:
    """The parameters in which sides differ: the name, and the value of each side."""
    found = [side.params() for side in sides]
    names = {name: None for params in found for name in params}
    rows = [(name, *(params.get(name, OTHER) for params in found)) for name in names]
    return [row for row in rows if len({*row[1:]}) > 1]


def _read(member: Member) -> Member:
    """The same with what its artifacts hold."""
    predictions = recorded.table(member.run, "predictions").sort_values("row", ignore_index=True)
    return replace(member, predictions=predictions, history=member.run.history())
