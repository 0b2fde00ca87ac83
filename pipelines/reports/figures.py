"""Figures. Each carries the notice of stand-in data where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


LINE = 0.13
"""Inches that a line of small text takes."""

GAP = 0.06
"""Inches between images."""

NAMED, DRAWN = 20, 200
"""Classes of a confusion matrix up to which they are named, and up to which its cells can be seen."""

EXTREMES = 25
"""Classes, or confusions, that are named where all are too many."""


def new(width: float, height: float, notice: str, layout: str | None = "constrained") -> Figure:
    """An empty figure, inches; it never opens a window."""
    figure = Figure(figsize=(width, height), layout=layout, dpi=110)
    if notice:
        place = {} if layout else {"y": 1 - GAP / height, "va": "top"}
        figure.suptitle(notice.partition(".")[0], color="firebrick", fontsize=8, **place)
    return figure


def grid(
    images: Sequence[np.ndarray],
    columns: int,
    cell: tuple[float, float],
    notice: str,
    titles: Sequence[str] = (),
    marked: Sequence[bool] = (),
    names: Sequence[str] = (),
) -> Figure:
    """Images uint8 (H, W, C), of any sizes, in lines. In axes of its own for each, 40 would take a second to draw.

    Args:
        images: line by line.
        columns: images of a line.
        cell: width and height of an image with its title, inches.
        notice: of stand-in data.
        titles: of the images.
        marked: which titles stand out by their colour.
        names: of the lines.
    """
    left, top = 2 * LINE * bool(names), 2 * LINE * bool(notice)
    above = LINE * max((title.count("\n") + 1 for title in titles), default=0)
    width = max(left + columns * cell[0], 5.0 * bool(notice))  # a notice needs its width
    height = top + -(-len(images) // columns) * cell[1]
    figure = new(width, height, notice, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    for number, image in enumerate(images):
        line, column = divmod(number, columns)
        scale = min((cell[0] - GAP) / image.shape[1], (cell[1] - above - GAP) / image.shape[0])
        middle, start = left + (column + 0.5) * cell[0], top + line * cell[1] + above
        x, y = scale * image.shape[1] / 2, scale * image.shape[0]
        show(axes, image, (middle - x, middle + x, start + y, start))
        if titles:
            color = "firebrick" if marked and marked[number] else "black"
            # A name may hold a dollar, which is no formula.
            text = {"s": titles[number], "ha": "center", "va": "bottom", "fontsize": 6.5, "parse_math": False}
            axes.text(middle, start - GAP / 4, color=color, **text)
    for line, name in enumerate(names):
        axes.text(LINE, top + (line + 0.5) * cell[1], name, rotation=90, ha="center", va="center", fontsize=7)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    return figure


def show(axes: object, image: np.ndarray, extent: tuple[float, float, float, float] | None = None) -> None:
    """One uint8 image (H, W, C), without axes; of several, each with its left, right, lower, upper end."""
    plain = image.squeeze(-1) if image.shape[-1] == 1 else image
    axes.imshow(plain, cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.set_axis_off()


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...], notice: str) -> Figure:
    """Confusion matrix: rows are true classes, in shares of the row; with counts up to 20 classes.

    Of more classes no cell can be told from the next, so the most frequent confusions stand beside it by name; of more
    than 200 they stand alone.
    """
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, predicted, labels=np.arange(len(classes)))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    many, drawn = len(classes) > NAMED, len(classes) <= DRAWN
    side = 2 + 0.5 * min(len(classes), NAMED)
    figure = new(drawn * (side + 1) + many * 6, side if drawn else 6, notice)
    panels = figure.subplots(1, drawn + many, squeeze=False, width_ratios=[side] * drawn + [4] * many)[0]
    if many:
        _confusions(panels[-1], counts, shares, classes)
    if not drawn:
        return figure
    axes = panels[0]
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), ax=axes, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true")
    if many:
        return figure
    places = np.arange(len(classes))
    axes.set_xticks(places, classes, rotation=45, ha="right")
    axes.set_yticks(places, classes)
    for row, column in np.argwhere(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=color, fontsize=7)
    return figure


def _confusions(axes: Axes, counts: np.ndarray, shares: np.ndarray, classes: tuple[str, ...]) -> None:
    """The most frequent mistakes by name, with the number of examples, the most frequent on top."""
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    most = np.argsort(wrong, axis=None, kind="stable")[::-1][:EXTREMES]
    cells = [divmod(int(cell), len(counts)) for cell in most if wrong.flat[cell]][::-1]
    places = np.arange(len(cells))
    bars = axes.barh(places, [shares[cell] for cell in cells], color="tab:red")
    axes.bar_label(bars, [f"{counts[cell]:,}" for cell in cells], padding=2, fontsize=7)
    axes.set_yticks(places, [f"{classes[true]} → {classes[guess]}" for true, guess in cells])
    title = f"the {len(cells)} most frequent confusions" if cells else "no confusions"
    axes.set(xlabel="share of the true class", title=title)


def reliability(bins: pd.DataFrame, error: float, notice: str) -> Figure:
    """Reliability diagram: how often the model is right, by how sure it is; and how many examples."""
    figure = new(5, 5, notice)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
    upper.plot(bins["confidence"], bins["accuracy"], marker="o", label=f"model, ECE {error:.4f}")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    upper.legend(frameon=False)
    lower.bar(bins["confidence"], bins["count"], width=0.03)
    lower.set(xlabel="confidence", ylabel="examples")
    return figure


def bars(names: Sequence[str], values: Sequence[float], label: str, notice: str) -> Figure:
    """One horizontal bar for each class, the worst on top; of more than 100 the lowest and the highest, below all."""
    values, order = np.asarray(values), np.argsort(values)[::-1]
    if len(names) <= 4 * EXTREMES:
        figure = new(5, 1 + 0.22 * len(names), notice)
        parts, panels = {"": order}, [figure.subplots()]
    else:
        figure = new(5, 3 + 0.44 * EXTREMES, notice)
        parts = {f"the {EXTREMES} lowest": order[-EXTREMES:], f"the {EXTREMES} highest": order[:EXTREMES]}
        whole, *panels = figure.subplots(3, 1, height_ratios=(1, 3, 3))
        whole.plot(1 + np.arange(len(names)), values[order])
        whole.set(xlabel="classes, the highest first", ylabel=label, ylim=(0, 1), title=f"all {len(names):,} classes")
    for axes, (title, rows) in zip(panels, parts.items(), strict=True):
        places = np.arange(len(rows))
        axes.barh(places, values[rows])
        axes.set_yticks(places, [names[row] for row in rows])
        axes.set(xlabel=label, xlim=(0, 1), title=title)
    return figure


def mistaken_images(images: np.ndarray, rows: pd.DataFrame, classes: tuple[str, ...], notice: str) -> Figure:
    """The most confident mistakes, each with its row in the test set, its true class and the predicted one."""
    titles = [
        f"row {row.row}\n{classes[row.label]} → {classes[row.predicted]} {row.confidence:.0%}"
        for row in rows.itertuples()
    ]
    return grid(images, 8, (1.45, 1.75), notice, titles)


def mistaken_texts(texts: np.ndarray, rows: pd.DataFrame, classes: tuple[str, ...], notice: str) -> Figure:
    """The most confident mistakes as a table: row in the test set, text, true class, predicted one."""
    figure = new(8, 0.6 + 0.19 * len(texts), notice)
    axes = figure.subplots()
    axes.set_axis_off()
    cells = [
        [str(row.row), text, classes[row.label], classes[row.predicted], f"{row.confidence:.0%}"]
        for text, row in zip(texts, rows.itertuples(), strict=True)
    ]
    axes.table(cells, colLabels=["row", "text", "true class", "predicted", "confidence"], loc="center", cellLoc="left")
    return figure


def learning_curves(history: list[dict[str, float]], notice: str) -> Figure:
    """Loss, the other metrics and the learning rate by epoch, training beside validation."""
    names = [name.removeprefix("train/") for name in history[0] if name.startswith("train/")]
    figure = new(4 * (len(names) + 1), 3.2, notice)
    *panels, last = figure.subplots(1, len(names) + 1)
    epochs = np.arange(1, len(history) + 1)
    for axes, name in zip(panels, names, strict=True):
        for split in ("train", "val"):
            if f"{split}/{name}" in history[0]:
                axes.plot(epochs, [row[f"{split}/{name}"] for row in history], marker=".", label=split)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend(frameon=False)
    last.plot(epochs, [row["learning_rate"] for row in history], marker=".", color="grey")
    last.set(xlabel="epoch", ylabel="learning rate at the epoch's end")
    return figure


def filters(kernel: np.ndarray, notice: str) -> Figure:
    """The filters of a first convolution (height, width, 1 or 3, filters), each stretched to its own range."""
    shown = np.moveaxis(kernel[..., :96], 3, 0)
    ranges = np.ptp(shown, axis=(1, 2, 3), keepdims=True)
    stretched = (shown - shown.min(axis=(1, 2, 3), keepdims=True)) / np.maximum(ranges, 1e-12)
    return grid(np.rint(255 * stretched).astype(np.uint8), min(16, len(shown)), (0.6, 0.6), notice)


def augmentations(originals: np.ndarray, draws: np.ndarray, names: Sequence[str], notice: str) -> Figure:
    """Originals (N, H, W, C), each beside its draws (N, D, h, w, C)."""
    images, titles = [], []
    for original, drawn, name in zip(originals, draws, names, strict=True):
        images += [original, *drawn]
        titles += [name] + [""] * len(drawn)
    return grid(images, 1 + draws.shape[1], (1.1, 1.2), notice, titles)


def pairs(images: Sequence[np.ndarray], titles: Sequence[str], marked: Sequence[bool], notice: str) -> Figure:
    """Two images (2, H, W, C) side by side under their title, for each pair; some are marked by colour."""
    joined = []
    for two in images:
        apart = np.pad(two, ((0, 0), (0, 0), (0, max(1, two.shape[2] // 16)), (0, 0)), constant_values=255)
        joined.append(np.concatenate(apart, axis=1))
    return grid(joined, min(8, len(joined)), (1.9, 1.45), notice, titles, marked)


def contact_sheet(examples: Mapping[str, np.ndarray], counts: Sequence[int]) -> Figure:
    """A line of images uint8 (N, H, W, C) for each class, below its name and its number of images."""
    longest = max(map(len, examples.values()))
    figure = new(1.1 * longest, 1.35 * len(examples), "")
    lines = figure.subplots(len(examples), 1, squeeze=False)[:, 0]
    for axes, (name, images), count in zip(lines, examples.items(), counts, strict=True):
        line = np.full((longest, *images.shape[1:]), 255, np.uint8)
        line[: len(images)] = images
        apart = np.pad(line, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=255)
        show(axes, np.concatenate(apart, axis=1))
        axes.set_title(f"{name}: {count:,}", fontsize=8, loc="left")
    return figure
