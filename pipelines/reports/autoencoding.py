"""The report on an autoencoder: errors, what its code is good for beside principal components, pictures."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.table import Table

from data.spec import Source, Split, Splits
from models.autoencoders import Autoencoder, Penalized, Variational
from pipelines.augmentation import scaled
from pipelines.reports import Report, reconstructions

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

BATCH = 500
"""Images that are worked on at once."""

PROBED = 10_000
"""Training images from whose codes classes are learned, at most."""

PRINCIPAL = 20_000
"""Training images that principal components are fitted to, at most; fewer where they are large."""

VALUES = 100_000_000
"""Pixels times channels of these, at most: 400 MB."""

ACTIVE = 0.1
"""A unit is active for an image where its activation exceeds this share of its largest one on the test set."""

FLOOR = 1e-10
"""Smallest squared error, so that a perfect image has 100 dB."""


@dataclass(frozen=True)
class Coder:
    """A network and how to read its output."""

    network: keras.Model
    settings: Autoencoder

    def codes(self, images: np.ndarray) -> np.ndarray:
        """The code (N, units) of images uint8 (N, H, W, C); the mean where it is random."""
        found = _on_batches(self.network.get_layer("encoder"), images)
        return found[0] if isinstance(found, list) else found

    def distribution(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log-variance of a random code."""
        mean, log_variance = _on_batches(self.network.get_layer("encoder"), images)
        return mean, log_variance

    def outputs(self, codes: np.ndarray) -> np.ndarray:
        """The decoder's output as it is."""
        return _on_batches(self.network.get_layer("decoder"), codes.astype(np.float32))

    def decoded(self, codes: np.ndarray) -> np.ndarray:
        """Images on the scale 0 to 1, which the output may leave."""
        return self._scaled(self.outputs(codes))

    def reconstructed(self, images: np.ndarray) -> np.ndarray:
        """The same of images uint8."""
        return self._scaled(_on_batches(self.network, images))

    def _scaled(self, outputs: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return expit(outputs) if self.settings.output == "sigmoid" else outputs


def _on_batches(model: keras.Model, inputs: np.ndarray) -> np.ndarray | list[np.ndarray]:
    parts = [model.predict_on_batch(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)]
    if isinstance(parts[0], list | tuple):
        return [np.concatenate(column) for column in zip(*parts, strict=True)]
    return np.concatenate(parts)


def report(network: keras.Model, settings: Autoencoder, splits: Splits, notice: str) -> Report:
    """Everything about one autoencoder on the test set.

    Errors are those of the network's own output, not clipped, on the scale 0 to 1, against clean images; a denoising
    one is given corrupted ones. Codes are those of clean images.

    Args:
        network: float32, with ``encoder`` and ``decoder``.
        settings: what it was built from.
        splits: images and labels; the training images serve the probe and the principal components alone.
        notice: shown on each figure where stand-in data is used.
    """
    coder = Coder(network, settings)
    components = principal_components(splits.train, settings.code)
    errors, noisy, principal, codes = _walk_through(coder, splits.test, components)
    metrics = {"mse": float(errors.mean()), "psnr": psnr(errors)}
    if settings.corruption.any:
        metrics["noisy_psnr"] = psnr(noisy)
        metrics["psnr_gain"] = metrics["psnr"] - metrics["noisy_psnr"]
    if isinstance(settings, Penalized) and (settings.l1_code or settings.kl_sparsity):
        metrics["active_share"] = active_share(codes)
    if isinstance(settings, Variational):
        metrics |= evidence(coder, splits.test)
    metrics["pca_mse"] = float(principal.mean())
    metrics |= probes(coder, splits, codes, components)
    predictions = pd.DataFrame({"row": np.arange(len(errors)), "error": errors})
    drawn = reconstructions.draw(coder, splits, codes, notice)
    return Report(metrics, predictions, summary(metrics, settings, len(errors), notice), figures=drawn)


def snapshot(network: keras.Model, settings: Autoencoder, images: np.ndarray, notice: str) -> Figure:
    """Some images uint8 (N, H, W, C) above their reconstructions as they are now; the same noise each time."""
    return reconstructions.compared(Coder(network, settings), images, np.arange(len(images)), notice)


def _walk_through(coder: Coder, split: Split, components: object) -> tuple[np.ndarray, ...]:
    """By image: the error, that of the network's input, that of principal components; and the codes."""
    found = []
    for rows in batches(len(split)):
        clean = split.inputs[rows]
        seen = coder.settings.corruption.fixed(clean, rows)
        flat = components.inverse_transform(components.transform(scaled(seen).reshape(len(rows), -1)))
        shown = (coder.reconstructed(seen), scaled(seen), flat.reshape(clean.shape))
        found.append([*(squared_errors(clean, one) for one in shown), coder.codes(clean)])
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def batches(count: int) -> list[np.ndarray]:
    """All rows in order, some at a time."""
    return [np.arange(start, min(count, start + BATCH)) for start in range(0, count, BATCH)]


def squared_errors(clean: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Mean squared error of each image, float64 (N,), on the scale 0 to 1."""
    return np.square(shown.astype(np.float64) - clean / 255).mean(axis=(1, 2, 3))


def psnr(errors: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB: the mean over the images of each one's 10 log10(1 / mean squared error)."""
    return float(np.mean(-10 * np.log10(np.maximum(errors, FLOOR))))


def active_share(codes: np.ndarray) -> float:
    """Mean share of a code's units that are active, see ACTIVE."""
    sizes = np.abs(codes)
    largest = sizes.max(axis=0)
    return float(((sizes > ACTIVE * largest) & (largest > 0)).mean())


def evidence(coder: Coder, split: Split) -> dict[str, float]:
    """The negative evidence lower bound in nats for an image, by one draw of each code, and its two terms."""
    generator = np.random.default_rng(0)
    reconstruction, divergence = [], []
    for rows in batches(len(split)):
        images = split.inputs[rows]
        mean, log_variance = coder.distribution(images)
        noise = generator.standard_normal(mean.shape, np.float32)
        outputs = coder.outputs(mean + np.exp(log_variance / 2) * noise)
        reconstruction.append(nats(images, outputs, coder.settings))
        divergence.append(0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1, dtype=np.float64))
    terms = [float(np.concatenate(term).mean()) for term in (reconstruction, divergence)]
    return {"negative_elbo": sum(terms), "reconstruction_nats": terms[0], "kl_nats": terms[1]}


def nats(images: np.ndarray, outputs: np.ndarray, settings: Variational) -> np.ndarray:
    """Negative log-likelihood of each image uint8 given the decoder's output, float64 (N,)."""
    x, y = images / 255, outputs.astype(np.float64)
    if settings.likelihood == "bernoulli":
        each = np.logaddexp(0, y) - x * y
    else:
        each = np.square((x - y) / settings.deviation) / 2 + np.log(settings.deviation * np.sqrt(2 * np.pi))
    return each.sum(axis=(1, 2, 3))


def principal_components(train: Split, units: int) -> object:
    """As many components as the code has units, or as there are, of some training images on the scale 0 to 1."""
    from sklearn.decomposition import PCA

    values = int(np.prod(train.inputs[np.arange(1)].shape))
    rows = some(len(train), min(PRINCIPAL, max(1, VALUES // values)))
    flat = scaled(train.inputs[rows]).reshape(len(rows), -1)
    return PCA(min(units, *flat.shape), random_state=0).fit(flat)


def some(count: int, most: int) -> np.ndarray:
    """Rows drawn once for all, in order; all where there are no more."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def probes(coder: Coder, splits: Splits, codes: np.ndarray, components: object) -> dict[str, float]:
    """Accuracy on the test set of a linear classifier of codes, and of one of principal components."""
    rows = some(len(splits.train), PROBED)
    labels = splits.train.labels[rows]
    if len(np.unique(labels)) < 2:
        return {}

    def project(images: np.ndarray) -> np.ndarray:
        return components.transform(scaled(images).reshape(len(images), -1))

    def in_parts(inputs: Source, rows: np.ndarray, features: object) -> np.ndarray:
        return np.concatenate([features(inputs[rows[part]]) for part in batches(len(rows))])

    train, test = splits.train.inputs, splits.test
    return {
        "probe_accuracy": probe(in_parts(train, rows, coder.codes), labels, codes, test.labels),
        "pca_probe_accuracy": probe(
            in_parts(train, rows, project), labels, in_parts(test.inputs, np.arange(len(test)), project), test.labels
        ),
    }


def probe(features: np.ndarray, labels: np.ndarray, test_features: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy of multinomial logistic regression on standardized features."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a probe say nothing
        classifier.fit(features, labels)
    return float(classifier.score(test_features, test_labels))


ROWS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "noisy_psnr": ("PSNR of the corrupted images", "{:.2f} dB"),
    "psnr_gain": ("gain", "{:.2f} dB"),
    "negative_elbo": ("negative ELBO, one draw", "{:.2f} nats"),
    "reconstruction_nats": ("of which reconstruction", "{:.2f} nats"),
    "kl_nats": ("of which divergence of the code", "{:.2f} nats"),
    "active_share": (f"active units (above {ACTIVE:.0%} of their largest)", "{:.2%}"),
}


def summary(metrics: dict[str, float], settings: Autoencoder, count: int, notice: str) -> Table:
    """The short table for the terminal; what principal components reach stands beside."""
    table = Table(title=f"Test set, {count:,} images", title_justify="left", caption=notice or None)
    for column in ("metric", "value", f"PCA, {settings.code} components"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    table.add_row("mean squared error", f"{metrics['mse']:.5f}", f"{metrics['pca_mse']:.5f}")
    for name, (text, form) in ROWS.items():
        if name in metrics:
            table.add_row(text, form.format(metrics[name]), "")
    if "probe_accuracy" in metrics:
        values = (f"{metrics[name]:.2%}" for name in ("probe_accuracy", "pca_probe_accuracy"))
        table.add_row("logistic regression on the code", *values)
    return table
