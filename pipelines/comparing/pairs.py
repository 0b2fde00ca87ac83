"""Two sides of a comparison: how they differ, by the two uncertainties, by class and by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data.errors import BadInput
from pipelines.comparing import statistics
from pipelines.comparing.sides import Side, differing
from pipelines.comparing.statistics import Estimate, McNemar, Test

CLASS_RESAMPLES = 1_999
"""Of the bootstrap of one class: enough for whiskers in a figure."""

SEEDS = 5
"""Of each recipe, in the experiment that is proposed."""


@dataclass(frozen=True)
class Measure:
    """What decides which side is better."""

    metric: str
    """As it is recorded."""
    name: str
    better: int
    """1 where more is better, -1 where less is."""
    scale: float
    unit: str


ACCURACY = Measure("test/accuracy", "accuracy", 1, 100.0, " points")
ERROR = Measure("test/mse", "squared error", -1, 1.0, " in squared error")


@dataclass(frozen=True)
class Spread:
    """What the seed alone makes of the measure: standard deviations, and over how many seeds they are known."""

    first: float
    second: float
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """How the second side differs from the first."""

    first: Side
    second: Side
    sample: Estimate
    """The difference of these trained models, with the interval of the test sample."""
    mcnemar: McNemar | None
    """Of two classifiers, where each was trained once."""
    training: Test | None
    """The difference of the recipes, where each was trained with several seeds."""
    spread: Spread | None

    @property
    def measure(self) -> Measure:
        """What is compared."""
        return measure(self.first)

    @property
    def name(self) -> str:
        """Both letters."""
        return f"{self.second.letter} against {self.first.letter}"

    @property
    def same_setting(self) -> bool:
        """Whether settings, data, code and machine are the same, and at most the seeds differ."""
        return all(row[0] == "seed" for row in differing((self.first, self.second)))

    @property
    def p(self) -> float | None:
        """That of the test which was made: Welch's, or else McNemar's."""
        test = self.training or self.mcnemar
        return test.p if test else None

    @property
    def detectable(self) -> float | None:
        """The difference that SEEDS trainings of each would show, where the spread is known."""
        return self.spread and statistics.detectable(self.spread.first, self.spread.second, SEEDS)


def measure(side: Side) -> Measure:
    """What a side is judged by."""
    return ACCURACY if side.classifies else ERROR


def compare(first: Side, second: Side, known: dict[str, Sequence[float]]) -> Pair:
    """What the statistics say of two sides.

    Args:
        first: what the other is measured against.
        second: scored on the same test set.
        known: by side's letter, the measure of trainings of its setting, one for each seed.

    Raises:
        BadInput: their records of the test rows do not fit together.
    """
    _check(first, second)
    metric = measure(first).metric
    single = first.classifies and len(first.members) == len(second.members) == 1
    return Pair(
        first,
        second,
        statistics.mean(second.scores - first.scores),
        statistics.mcnemar(first.right[0], second.right[0]) if single else None,
        statistics.welch(first.values(metric), second.values(metric)),
        _spread(known.get(first.letter, ()), known.get(second.letter, ())),
    )


def _check(first: Side, second: Side) -> None:
    differ = len(first.scores) != len(second.scores)
    if differ or (first.classifies and not np.array_equal(first.labels, second.labels)):
        what = f"its predictions are for other rows than those of {first.members[0].run.name}"
        raise BadInput(what, f"run {second.members[0].run.name}", "evaluate both again: make evaluate RUN=…")


def _spread(first: Sequence[float], second: Sequence[float]) -> Spread | None:
    """What is known of two spreads; where one is not, the other stands for both."""
    deviations = [float(np.std(values, ddof=1)) for values in (first, second) if len(values) > 1]
    if not any(deviations):
        return None
    counts = tuple(len(values) for values in (first, second) if len(values) > 1)
    return Spread(deviations[0], deviations[-1], counts)


def by_class(pair: Pair, classes: Sequence[str]) -> pd.DataFrame:
    """For each class the share of its examples that each side has right, and the change with its interval."""
    labels, rows = pair.first.labels, []
    for number, name in enumerate(classes):
        of = labels == number
        if of.any():
            before, after = pair.first.scores[of], pair.second.scores[of]
            change = statistics.mean(after - before, CLASS_RESAMPLES)
            found = (before.mean(), after.mean(), change.value, change.low, change.high)
            rows.append((name, int(of.sum()), *map(float, found)))
    columns = ["class", "examples", "first", "second", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values("change", ascending=False, ignore_index=True)


def confusion_change(pair: Pair, classes: int) -> np.ndarray:
    """Confusion matrix of the second side minus that of the first, each the mean over its trainings.

    Returns:
        (classes, classes): the rows are true classes.
    """

    def counts(side: Side) -> np.ndarray:
        cells = (side.labels * classes + side.predicted).ravel()
        return np.bincount(cells, minlength=classes**2).reshape(classes, classes) / len(side.members)

    return counts(pair.second) - counts(pair.first)


def answers(side: Side) -> pd.DataFrame:
    """By row, the class that most of a side's trainings give, its mean probability, and the share that is right."""
    probabilities = side.probabilities
    votes = np.zeros_like(probabilities)
    rows = np.arange(votes.shape[0])
    for predicted in side.predicted:
        votes[rows, predicted] += 1
    given = (votes + probabilities / 2).argmax(axis=1)  # between classes with as many votes the probability decides
    return pd.DataFrame({"answer": given, "confidence": probabilities[rows, given], "right": side.scores})


def flipped(pair: Pair) -> pd.DataFrame:
    """Test rows that one side's trainings mostly have right and the other's mostly wrong.

    Those come first whose true class gained or lost most probability.

    Returns:
        ``row``, ``label``, ``gained``, and of each side ``_first`` or ``_second``: ``answer``, ``confidence``, and
        ``right``, the share of its trainings.
    """
    labels = pair.first.labels
    found = answers(pair.first).add_suffix("_first").join(answers(pair.second).add_suffix("_second"))
    rows = np.arange(len(labels))
    shift = pair.second.probabilities[rows, labels] - pair.first.probabilities[rows, labels]
    gained = (found["right_first"] < 0.5) & (found["right_second"] > 0.5)
    lost = (found["right_first"] > 0.5) & (found["right_second"] < 0.5)
    found = found.assign(row=rows, label=labels, gained=gained, shift=np.abs(shift))
    return found[gained | lost].sort_values("shift", ascending=False, ignore_index=True).drop(columns="shift")


def changed_errors(pair: Pair) -> pd.DataFrame:
    """Test rows by how much an autoencoder's error changed, most first: ``row``, ``first``, ``second``, ``gained``."""
    first, second = pair.first.scores, pair.second.scores
    found = pd.DataFrame({"row": np.arange(len(first)), "first": first, "second": second, "gained": second < first})
    found = found[first != second]
    return found.iloc[np.argsort(-np.abs(found["second"] - found["first"]).to_numpy(), kind="stable")]
