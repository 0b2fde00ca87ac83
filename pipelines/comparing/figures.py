"""The figures of a comparison. Each side has one colour throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pipelines.comparing import tables
from pipelines.comparing.pairs import Pair, measure
from pipelines.comparing.sides import Side
from pipelines.reports import figures

COLORS = ("#2563a8", "#d9730d", "#2a8a57", "#a13d8f", "#b59a00", "#7a4a2b", "#4b5563", "#17a2b8")
"""Of the sides, in their order."""

GAINED, LOST = "#2a8a57", "#b3372f"

SIGNED = LinearSegmentedColormap.from_list("signed", [LOST, "white", COLORS[0]])

CURVES = {
    "val/loss": "validation loss",
    "train/loss": "training loss",
    "val/accuracy": "validation accuracy",
    "train/accuracy": "training accuracy",
}
"""Metrics by epoch that are drawn, where there are some."""

WRITTEN = 20
"""Classes up to which each cell of a matrix holds its number."""

BARS = 30
"""Classes up to which each has its bar; of more, those that changed most."""


def color(side: Side) -> str:
    """A side's colour."""
    return COLORS[ord(side.letter) - ord("A")]


def curves(sides: Sequence[Side], by_second: bool, notice: str) -> Figure | None:
    """Losses and accuracies of all sides by epoch, or by second of training; of several seeds mean and range."""
    names = [name for name in CURVES if any(name in member.history for side in sides for member in side.members)]
    if not names:
        return None
    lines = math.ceil(len(names) / 2)
    figure = figures.new(9.6, 3.1 * lines, notice)
    panels = figure.subplots(lines, 2, squeeze=False, sharex=True).flat
    for axes, name in zip(panels, names, strict=True):
        for side in sides:
            _curve(axes, side, name, by_second)
        axes.set(title=CURVES[name], xlabel="seconds of training" if by_second else "epoch")
        axes.xaxis.set_tick_params(labelbottom=True)
        axes.xaxis.get_major_locator().set_params(integer=not by_second)
        axes.grid(alpha=0.25)
        axes.set_xlim(left=0)
    lines, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower left", ncols=4, frameon=False)
    return figure


def _curve(axes: Axes, side: Side, name: str, by_second: bool) -> None:
    """One metric of a side, as far as all its trainings have come."""
    drawn = [member.history for member in side.members if name in member.history]
    if not drawn:
        return
    length = min(len(history[name]) for history in drawn)
    values = np.array([[value for _, value in history[name][:length]] for history in drawn])
    if by_second:
        seconds = [[value for _, value in history.get("epoch_seconds", [])[:length]] for history in drawn]
        if any(len(line) < length for line in seconds):
            return
        places = np.cumsum(seconds, axis=1).mean(axis=0)
    else:
        places = np.array([step for step, _ in drawn[0][name][:length]])
    label = side.letter if len(drawn) == 1 else f"{side.letter}, mean of {len(drawn)} seeds and their range"
    wide = 1.4 if side.letter != "A" else 3.0  # so that a line which others cover can still be seen
    axes.plot(places, values.mean(axis=0), color=color(side), label=label, linewidth=wide)
    if len(drawn) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(places, low, high, color=color(side), alpha=0.18, linewidth=0, zorder=1)


def costs(sides: Sequence[Side], notice: str) -> Figure | None:
    """What each side costs against how good it is; a line joins those that no other beats in both."""
    judged = measure(sides[0])
    panels = []
    for name, text, more in (
        ("parameters", "parameters", False),
        ("train_seconds", "seconds of training", False),
        ("examples_per_second", "examples per second of training", True),
    ):
        spent = [tables.speeds(side) if more else side.values(name) for side in sides]
        if all(spent):
            panels.append((text, np.array([np.mean(values) for values in spent]), more))
    if not panels:
        return None
    figure = figures.new(9.6, 3.3, notice)
    for axes, (text, cost, more) in zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        _cost(axes, sides, cost, more)
        axes.set(xlabel=text)
    unit = " (%)" if judged.scale > 1 else ""
    figure.axes[0].set(ylabel=f"test {judged.name}{unit}")
    return figure


def _cost(axes: Axes, sides: Sequence[Side], cost: np.ndarray, more: bool) -> None:
    """One panel: a point for each side, and the Pareto front."""
    judged = measure(sides[0])
    shown = judged.scale if judged.scale > 1 else 1.0
    scores = np.array([shown * side.scores.mean() for side in sides])
    front = pareto(cost * (-1 if more else 1), -judged.better * scores)
    axes.plot(cost[front], scores[front], color="grey", linestyle="--", linewidth=1, zorder=1, label="Pareto front")
    for side, place, score in zip(sides, cost, scores, strict=True):
        deviation = shown * np.std(side.values(judged.metric), ddof=1) if len(side.members) > 1 else 0.0
        axes.errorbar(place, score, yerr=deviation or None, color=color(side), marker="o", markersize=8, capsize=3)
        axes.annotate(side.letter, (place, score), (8, 6), textcoords="offset points", color=color(side), weight="bold")
    if cost.min() > 0 and cost.max() > 5 * cost.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, place: _short(value))
    axes.margins(0.25)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right" if judged.better > 0 else "upper right", fontsize=8)


def _short(value: float) -> str:
    """A number as an axis can bear it."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def pareto(costs: np.ndarray, faults: np.ndarray) -> np.ndarray:
    """The points that no other one beats in one respect and equals in the other, by cost; both are to be small.

    Args:
        costs: (N,).
        faults: (N,).

    Returns:
        Their indices, the cheapest first.
    """
    kept = []
    for number in np.lexsort((faults, costs)):
        if not kept or faults[number] < faults[kept[-1]]:
            kept.append(int(number))
    return np.array(kept)


def class_changes(pair: Pair, table: pd.DataFrame, notice: str) -> Figure:
    """One bar for each class, those that gained most on top, with the interval of the test sample."""
    if len(table) > BARS:
        table = pd.concat([table.head(BARS // 2), table.tail(BARS // 2)])
    table = table.iloc[::-1]
    figure = figures.new(9.6, 1.0 + 0.26 * len(table), notice)
    axes = figure.subplots()
    change = 100 * table["change"].to_numpy()
    # A percentile interval of a few rows need not hold the value itself.
    ends = np.maximum(0, [change - 100 * table["low"], 100 * table["high"] - change])
    colors = [GAINED if value > 0 else LOST for value in change]
    names = [f"{name} ({count:,})" for name, count in zip(table["class"], table["examples"], strict=True)]
    places = np.arange(len(table))
    axes.barh(places, change, color=colors, xerr=ends, error_kw={"elinewidth": 0.8, "ecolor": "#444", "capsize": 2})
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.axvline(0, color="black", linewidth=0.8)
    text = f"share of the class that is right, {pair.second.letter} minus {pair.first.letter} (points)"
    axes.set(xlabel=text)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    return figure


def confusion_change(pair: Pair, change: np.ndarray, classes: Sequence[str], notice: str) -> Figure:
    """The signed difference of two confusion matrices, in examples; white where nothing changed."""
    count = len(classes)
    side = 2.2 + 0.34 * min(count, WRITTEN)
    figure = figures.new(side + 1.2, side, notice)
    axes = figure.subplots()
    limit = max(float(np.abs(change).max()), 1.0)
    drawn = axes.imshow(change, cmap=SIGNED, vmin=-limit, vmax=limit)
    label = f"examples, {pair.second.letter} minus {pair.first.letter}"
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.8)
    axes.set(xlabel="predicted", ylabel="true")
    if count > WRITTEN:
        return figure
    places = np.arange(count)
    axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, classes)
    axes.spines[:].set_visible(True)
    for row, column in np.argwhere(change):
        value = change[row, column]
        text = f"{value:+.1f}".removesuffix(".0")
        ink = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(column, row, text.replace("-", "−"), ha="center", va="center", color=ink, fontsize=7)
    return figure
