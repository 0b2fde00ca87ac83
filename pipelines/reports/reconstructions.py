"""Figures about an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.autoencoders import Variational
from pipelines.reports import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from data.spec import Split, Splits
    from pipelines.reports.autoencoding import Coder

SHOWN = 10
"""Images whose reconstructions are shown, and steps of a walk."""

POINTS = 5_000
"""Codes in the plane, at most."""

UNITS = 64
"""Whose effect on the decoder's output is shown, at most: those that vary most."""

GRID = 15
"""Side of the latent grid."""


def draw(coder: Coder, splits: Splits, codes: np.ndarray, notice: str) -> dict[str, Figure]:
    """All figures by name.

    Args:
        coder: the network.
        splits: the images; those of the test set are shown.
        codes: of the test set, in order.
        notice: shown on each where stand-in data is used.
    """
    test = splits.test
    rows = examples(test)
    drawn = {
        "reconstructions": compared(coder, test.inputs[rows], rows, notice),
        "code": plane(codes, test.labels, splits.spec.classes, notice),
        "decoder_filters": effects(coder, codes, notice),
        "walk": walks(coder, codes[rows], test.inputs[rows], notice),
    }
    if isinstance(coder.settings, Variational):
        generator = np.random.default_rng(0)
        prior = generator.standard_normal((64, codes.shape[1]))
        drawn["samples"] = tiles(pixels(coder.decoded(prior)), 8, notice)
        drawn["latent_grid"] = grid(coder, test, notice)
    return drawn


def examples(split: Split) -> np.ndarray:
    """A few rows: the first of each class, neighbours of different classes, then the first of the others."""
    _, first = np.unique(split.labels, return_index=True)
    others = np.setdiff1d(np.arange(min(len(split), SHOWN + len(first))), first)
    return np.concatenate([first, others])[:SHOWN]


def pixels(images: np.ndarray) -> np.ndarray:
    """Images on the scale 0 to 1 as uint8; what lies outside is clipped."""
    return np.clip(np.rint(255 * images), 0, 255).astype(np.uint8)


def compared(coder: Coder, images: np.ndarray, rows: Sequence[int], notice: str) -> Figure:
    """Originals, above their corrupted copies where there are some, above their reconstructions."""
    seen = coder.settings.corruption.fixed(images, rows)
    corrupted = {"corrupted": seen} if coder.settings.corruption.any else {}
    return lines({"original": images, **corrupted, "reconstruction": pixels(coder.reconstructed(seen))}, notice)


def lines(rows: dict[str, np.ndarray], notice: str) -> Figure:
    """One line of images for each name."""
    images = np.concatenate(list(rows.values()))
    return figures.grid(images, len(images) // len(rows), (0.9, 0.95), notice, names=list(rows))


def tiles(images: np.ndarray, columns: int, notice: str) -> Figure:
    """Images side by side without gaps, line by line; their number is a multiple of ``columns``."""
    count, height, width, channels = images.shape
    whole = images.reshape(count // columns, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    figure = figures.new(6.0, 0.3 + 6.0 * (count // columns) * height / (columns * width), notice)
    figures.show(figure.subplots(), whole.reshape(-1, columns * width, channels))
    return figure


def plane(codes: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], notice: str) -> Figure:
    """The codes' first two principal components, or the code itself where it has two units, coloured by class."""
    import matplotlib as mpl

    names = ("unit 1", "unit 2")
    if codes.shape[1] == 1:
        codes, names = np.repeat(codes, 2, axis=1), ("unit 1", "unit 1")
    elif codes.shape[1] > 2:
        centred = codes - codes.mean(axis=0)
        shares, vectors = np.linalg.eigh(centred.T @ centred)
        codes = centred @ vectors[:, :-3:-1]
        shares = shares[:-3:-1] / max(float(shares.sum()), 1e-12)
        names = tuple(f"component {number} ({share:.0%})" for number, share in enumerate(shares, 1))
    figure = figures.new(7, 5.5, notice)
    axes = figure.subplots()
    present = np.unique(labels)
    colors = mpl.colormaps["tab10" if len(present) <= 10 else "tab20" if len(present) <= 20 else "viridis"]
    for number, label in enumerate(present):
        color = colors(number if len(present) <= 20 else number / len(present))
        shown = codes[:POINTS][labels[:POINTS] == label]
        axes.scatter(*shown.T, s=4, color=color, alpha=0.6, linewidths=0, label=classes[int(label)])
    axes.set(xlabel=names[0], ylabel=names[1])
    if len(present) <= 20:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, markerscale=3)
    return figure


def effects(coder: Coder, codes: np.ndarray, notice: str) -> Figure:
    """What one deviation more of each unit adds to the decoder's output for the mean code, one image for each.

    Of a linear decoder these are its weights; the decoder's output is taken as it is, logits if it gives such.
    """
    deviations = codes.std(axis=0)
    units = np.argsort(-deviations, kind="stable")[:UNITS]
    steps = np.zeros((len(units), codes.shape[1]))
    steps[np.arange(len(units)), units] = deviations[units]
    outputs = coder.outputs(codes.mean(axis=0) + np.concatenate([np.zeros_like(steps[:1]), steps]))
    return figures.filters((outputs[1:] - outputs[0]).transpose(1, 2, 3, 0), notice)


def walks(coder: Coder, codes: np.ndarray, images: np.ndarray, notice: str) -> Figure:
    """From each example to the next: the one, SHOWN decoded steps on the line between their codes, the other."""
    if len(codes) < 2:
        codes, images = np.repeat(codes, 2, axis=0), np.repeat(images, 2, axis=0)
    starts = np.arange(0, len(codes) - 1, 2)
    shares = np.linspace(0, 1, SHOWN)[:, None]
    strips = []
    for start in starts:
        decoded = coder.decoded((1 - shares) * codes[start] + shares * codes[start + 1])
        strips += [images[start : start + 1], pixels(decoded), images[start + 1 : start + 2]]
    return tiles(np.concatenate(strips), SHOWN + 2, notice)


def grid(coder: Coder, split: Split, notice: str) -> Figure:
    """The plane of the two units that carry the most nats, at evenly spaced quantiles of the prior; others at 0."""
    from scipy.stats import norm

    mean, log_variance = coder.distribution(split.inputs[np.arange(min(len(split), POINTS))])
    used = (np.exp(log_variance) + mean**2 - 1 - log_variance).mean(axis=0)
    units = np.argsort(-used, kind="stable")[:2]
    places = norm.ppf(np.linspace(0.02, 0.98, GRID))
    codes = np.zeros((GRID, GRID, len(used)))
    codes[..., units[0]] = places  # to the right
    codes[..., units[-1]] += places[::-1, None] if len(used) > 1 else 0  # upwards
    return tiles(pixels(coder.decoded(codes.reshape(GRID**2, -1))), GRID, notice)
