"""The statistics of a comparison, all by scipy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

LEVEL = 0.05
"""Of all tests; intervals have the other 95 %."""

POWER = 0.8
"""Probability of finding a difference that a training with more seeds is planned for (Cohen 1988)."""

RESAMPLES = 9_999
"""Of the bootstrap: the ends of an interval then vary by about a hundredth of its width."""

AT_ONCE = 2_000_000
"""Drawn rows that are held in memory at the same time: 16 MB of numbers of rows."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 if the whole interval is above 0, -1 if it is below, 0 if it holds 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Test:
    """A difference between two groups of trainings, and how often chance alone makes one as large."""

    difference: Estimate
    p: float


@dataclass(frozen=True)
class McNemar:
    """On how many rows one of two classifiers alone is right, and how often chance alone makes it so uneven."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's test (Psychometrika 12, 1947) in its exact form.

    Where the two are equally good, each row on which one alone is right is so for either with probability 1/2.

    Args:
        first: whether a classifier is right, (N,).
        second: the same of the other, on the same rows.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    different = only_first + only_second
    p = float(stats.binomtest(only_second, different, 0.5).pvalue) if different else 1.0
    return McNemar(only_first, only_second, p)


def mean(values: np.ndarray, resamples: int = RESAMPLES) -> Estimate:
    """The mean over test rows with its bootstrap interval.

    Of the differences between two models on the same rows, this is the paired bootstrap (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13): a drawn row brings what both models made of it. The percentile
    interval needs no jackknife, which for 10,000 rows would hold 10,000 times as many.

    Args:
        values: by row, (N,).
        resamples: how often rows are drawn.
    """
    return resampled(lambda rows, axis: rows.mean(axis=axis), (values,), resamples, vectorized=True)


def resampled(
    statistic: Callable, samples: Sequence[np.ndarray], resamples: int = RESAMPLES, vectorized: bool = False
) -> Estimate:
    """A statistic of test rows with its bootstrap interval; the same rows are always drawn.

    Args:
        statistic: takes one array for each sample; with an axis if vectorized.
        samples: (N,) each, paired by row.
        resamples: how often rows are drawn.
        vectorized: whether the statistic works on many resamples at once.
    """
    value = float(statistic(*samples, axis=0) if vectorized else statistic(*samples))
    if len(samples[0]) < 2 or all(np.ptp(sample) == 0 for sample in samples):
        return Estimate(value, value, value)
    found = stats.bootstrap(
        samples,
        statistic,
        paired=len(samples) > 1,
        vectorized=vectorized,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, AT_ONCE // len(samples[0])),
        rng=1,
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high))


def share(count: int, of: int) -> Estimate:
    """A share with its interval (Wilson, Journal of the American Statistical Association 22, 1927)."""
    interval = stats.binomtest(count, of).proportion_ci(method="wilson")
    return Estimate(count / of, float(interval.low), float(interval.high))


def welch(first: Sequence[float], second: Sequence[float]) -> Test | None:
    """Welch's test (Biometrika 34, 1947) of second minus first, which does not ask for equal spreads.

    Args:
        first: a metric of each training; None is returned unless there are two or more with some spread.
        second: the same of the other group.
    """
    if min(len(first), len(second)) < 2 or np.ptp(first) == np.ptp(second) == 0:
        return None
    with warnings.catch_warnings():
        # SciPy fears for its precision where one group has no spread; that of the other is then all there is.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = stats.ttest_ind(second, first, equal_var=False)
    interval = found.confidence_interval(1 - LEVEL)
    value = float(np.mean(second) - np.mean(first))
    return Test(Estimate(value, float(interval.low), float(interval.high)), float(found.pvalue))


def detectable(first: float, second: float, seeds: int) -> float:
    """The smallest true difference that Welch's test finds with the probability POWER.

    Its statistic then has a noncentral t distribution, whose degrees of freedom are Welch's.

    Args:
        first: standard deviation over the seeds of a recipe.
        second: that of the other.
        seeds: of each, five or more.
    """
    variances = np.array([first, second]) ** 2
    if not variances.any():
        return 0.0
    freedom = float((seeds - 1) * variances.sum() ** 2 / (variances**2).sum())
    limit = stats.t.ppf(1 - LEVEL / 2, freedom)

    def shortfall(noncentrality: float) -> float:
        power = stats.nct.sf(limit, freedom, noncentrality) + stats.nct.cdf(-limit, freedom, noncentrality)
        return float(power) - POWER

    # At the upper end the power is 98 % and more from 4 degrees of freedom on; far above it, nct is not a number.
    return float(optimize.brentq(shortfall, 0.0, 2 * limit + 1)) * math.sqrt(variances.sum() / seeds)


def corrected(probabilities: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted for the false discovery rate (Benjamini and Hochberg 1995)."""
    return stats.false_discovery_control(probabilities).tolist()
