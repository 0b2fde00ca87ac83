"""Recorded autoencoders beside what else does their work.

usage: python -m benchmarks.autoencoders RUN [RUN ...]

Each run is an id or a name of a trained autoencoder, all on the same data. What is shown follows from its recipe:
a linear one beside exact principal components of the same training images, with the largest principal angle between
the two subspaces; a denoising one beside Gaussian, median and PCA filtering, each tuned on the validation images; a
sparse one beside the dense one of equal code size, where that is among the runs; a variational one by its negative
ELBO; all by the accuracy of a linear probe on the code, principal components beside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from data.spec import Splits
    from models.autoencoders import Autoencoder
    from pipelines.reports.autoencoding import Coder

Row = tuple[str, str, str]
"""What is measured, its value, what it is compared with."""

SIGMAS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6, 2.0)
"""Deviations of the Gaussian filter in pixels."""

WINDOWS = (3, 4, 5, 6, 7, 9)
"""Sides of the median filter in pixels."""

COMPONENTS = (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96)
"""Of the PCA filter."""


@dataclass(frozen=True)
class Trained:
    """A run, read back."""

    name: str
    settings: Autoencoder
    coder: Coder
    metrics: dict[str, float]
    """Its report's, computed anew."""


def read(reference: str, known: dict[object, Splits]) -> tuple[Trained, Splits]:
    """A run and its data; data that were loaded before are not loaded again."""
    import data
    from models.autoencoders import Autoencoder
    from pipelines import settings
    from pipelines.reports import autoencoding
    from pipelines.tracking import recorded

    run = recorded.find(reference)
    recipe = settings.from_dict(run.recipe())
    if not isinstance(recipe.model, Autoencoder):
        raise BadInput(f"is no autoencoder but {type(recipe.model).__name__}", f"run {run.name}", "choose another")
    splits = known.setdefault(recipe.data, data.load(recipe.data) if recipe.data not in known else None)
    network = run.load_model().network
    report = autoencoding.report(network, recipe.model, splits, splits.notice)
    return Trained(run.name, recipe.model, autoencoding.Coder(network, recipe.model), report.metrics), splits


def everything(split: object) -> np.ndarray:
    """All images of a split, uint8."""
    return split.inputs[np.arange(len(split))]


def flat(images: np.ndarray) -> np.ndarray:
    """Images uint8 as rows on the scale 0 to 1, float64."""
    return images.reshape(len(images), -1) / 255


def linear(run: Trained, splits: Splits) -> list[Row]:
    """Exact principal components of all training images: their error, and how far the subspaces are apart."""
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    pca = PCA(run.settings.code, svd_solver="covariance_eigh").fit(flat(everything(splits.train)))
    test = flat(everything(splits.test))
    least = float(np.square(pca.inverse_transform(pca.transform(test)) - test).mean())
    span = np.eye(run.settings.code)
    columns = run.coder.outputs(np.concatenate([0 * span[:1], span])).reshape(len(span) + 1, -1).astype(np.float64)
    angle = np.degrees(subspace_angles((columns[1:] - columns[0]).T, pca.components_.T)[0])
    error = run.metrics["mse"]
    return [
        ("test MSE beside that of exact PCA", f"{error:.6f}", f"{least:.6f} ({error / least - 1:+.3%})"),
        ("largest principal angle to PCA's subspace", f"{angle:.2f} degrees", ""),
    ]


def filters(splits: Splits) -> dict[str, tuple[tuple[float, ...], Callable[[np.ndarray, float], np.ndarray]]]:
    """Ways to clean images, scale 0 to 1, (N, H, W, C): what they are tuned over, and what they do."""
    from scipy import ndimage
    from sklearn.decomposition import PCA

    shape = splits.spec.shape
    most = min(max(COMPONENTS), *flat(splits.train.inputs[np.arange(min(len(splits.train), 100))]).shape)
    pca = PCA(most, random_state=0).fit(flat(everything(splits.train)))

    def projected(images: np.ndarray, by: float) -> np.ndarray:
        axes = pca.components_[: int(by)]
        centred = images.reshape(len(images), -1) - pca.mean_
        return (centred @ axes.T @ axes + pca.mean_).reshape(-1, *shape)

    return {
        "Gaussian filter, pixels": (SIGMAS, lambda images, by: ndimage.gaussian_filter(images, (0, by, by, 0))),
        "median filter, pixels": (WINDOWS, lambda images, by: ndimage.median_filter(images, (1, by, by, 1))),
        "PCA filter, components": (tuple(one for one in COMPONENTS if one <= most), projected),
    }


def denoising(run: Trained, splits: Splits) -> list[Row]:
    """Filters whose one parameter is the best on the validation images, on the test images; all outputs clipped."""
    from pipelines.augmentation import scaled
    from pipelines.reports.autoencoding import psnr, squared_errors

    corruption = run.settings.corruption

    def decibels(split: object, clean: Callable[[np.ndarray], np.ndarray]) -> float:
        images = everything(split)
        noisy = scaled(corruption.fixed(images, range(len(images))))
        return psnr(squared_errors(images, np.clip(clean(noisy), 0, 1)))

    images = everything(splits.test)
    seen = corruption.fixed(images, range(len(images)))
    ours = psnr(squared_errors(images, np.clip(run.coder.reconstructed(seen), 0, 1)))
    noisy = decibels(splits.test, lambda images: images)
    rows = [(f"PSNR, {corruption.kind} {corruption.amount:g}; beside: of the noisy images", *_decibels(ours, noisy))]
    for name, (choices, clean) in filters(splits).items():
        tried = {by: decibels(splits.val, partial(clean, by=by)) for by in choices}
        best = max(tried, key=tried.get)
        found = decibels(splits.test, partial(clean, by=best))
        rows.append((f"  beside: {name}: {best:g} by validation", *_decibels(ours, found)))
    return rows


def _decibels(ours: float, other: float) -> tuple[str, str]:
    return f"{ours:.2f} dB", f"{other:.2f} dB ({ours - other:+.2f})"


def sparse(run: Trained, others: list[Trained]) -> list[Row]:
    """How many units are active, and the error beside that of a dense code of the same size and network."""
    from pipelines.reports.autoencoding import ACTIVE

    rows = [(f"active units, above {ACTIVE:.0%} of their largest", f"{run.metrics['active_share']:.2%}", "")]
    free = {"l1_code": 0.0, "kl_sparsity": 0.0, "l2": 0.0}
    for other in others:
        if type(other.settings) is type(run.settings) and replace(run.settings, **free) == replace(
            other.settings, **free, code_activation=run.settings.code_activation
        ):
            if "active_share" in other.metrics:
                continue
            error, dense = run.metrics["mse"], other.metrics["mse"]
            rows.append((f"test MSE; beside: {other.name}", f"{error:.5f}", f"{dense:.5f} (x {error / dense:.2f})"))
    return rows


def variational(run: Trained) -> list[Row]:
    """The bound and its two terms."""
    terms = f"{run.metrics['reconstruction_nats']:.2f} + {run.metrics['kl_nats']:.2f}"
    return [("negative ELBO, one draw; reconstruction + divergence", f"{run.metrics['negative_elbo']:.2f} nats", terms)]


def rows_of(run: Trained, splits: Splits, others: list[Trained]) -> list[Row]:
    """All that can be said of a run."""
    from models.autoencoders import LinearAutoencoder

    rows = [("test MSE; beside: PCA as reported", f"{run.metrics['mse']:.5f}", f"{run.metrics['pca_mse']:.5f}")]
    if isinstance(run.settings, LinearAutoencoder):
        rows = linear(run, splits)
    if run.settings.corruption.any:
        rows += denoising(run, splits)
    if "active_share" in run.metrics:
        rows += sparse(run, others)
    if "negative_elbo" in run.metrics:
        rows += variational(run)
    if "probe_accuracy" in run.metrics:
        values = (f"{run.metrics[name]:.2%}" for name in ("probe_accuracy", "pca_probe_accuracy"))
        rows.append((f"logistic probe on {run.settings.code} numbers; beside: on PCA's", *values))
    return rows


def main(arguments: list[str]) -> None:
    if not arguments:
        raise BadInput("no runs", "benchmarks.autoencoders", "give ids or names, see make ui")
    command.start_backend()

    from rich.table import Table

    from pipelines import reports

    console = reports.console()
    known: dict[object, Splits] = {}
    found = [read(reference, known) for reference in arguments]
    for run, splits in found:
        reports.warn_of_stand_in(splits.notice, console)
        table = Table(title=f"{run.name}: {type(run.settings).__name__} on {splits.name}", title_justify="left")
        for column in ("measured", "autoencoder", "beside"):
            table.add_column(column, justify="left" if column == "measured" else "right")
        for row in rows_of(run, splits, [other for other, _ in found if other is not run]):
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    command.main(main)
