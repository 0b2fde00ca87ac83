"""Datasets of images that come in a training and a test set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from data import archives, parts
from data.dataset import Dataset
from data.errors import BadInput
from data.spec import Arrays, DataConfig, Source, Spec, Split, Splits, batches
from data.store import digest


@dataclass(frozen=True)
class ImageDataset(Dataset):
    """Images of one size, uint8, with the publisher's division into training and test set."""

    kind: ClassVar[str] = "images"
    described: ClassVar[frozenset[str]] = frozenset({"counts", "mean", "deviation", "sha256", "test_sha256"})
    peculiarity: ClassVar[str] = "images with an official test set"

    shape: tuple[int, int, int] = (0, 0, 0)
    """Height, width, channels."""
    classes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Number of examples of ``train`` and ``test``."""

    def take(self, path: Path) -> Arrays:
        """See :meth:`data.dataset.Dataset.take`; also folders of PNG files, and .npz files."""
        if (path / "train").is_dir():
            return archives.read_folder(path, self.classes, self.shape)
        # So many bytes do its arrays have in the widest type, which is then refused by name.
        limit = 8 * sum(self.counts.values()) * (int(np.prod(self.shape)) + 1)
        return archives.read_npz(path, limit + archives.FREE) if path.suffix == ".npz" else self.read(path)

    def checksums(self, path: Path) -> dict[str, str]:
        """See :meth:`data.dataset.Dataset.checksums`; none for a folder of PNG files, whose arrays have one."""
        return {} if (path / "train").is_dir() else super().checksums(path)

    def arrange(self, raw: Arrays, origin: str, aside: Path) -> tuple[Arrays, dict]:
        """Bring shapes and types into our form where nothing is lost by it; refuse everything else."""
        arrays = {}
        for split in ("train", "test"):
            arrays[f"x_{split}"] = self._images(raw[f"x_{split}"], split, origin)
            arrays[f"y_{split}"] = self._labels(raw[f"y_{split}"], split, origin)
        return arrays, described(arrays, self.classes)

    def _images(self, images: np.ndarray, split: str, origin: str) -> np.ndarray:
        wanted = (self.counts[split], *self.shape)
        if images.ndim == 3 and self.shape[2] == 1:
            images = images[..., None]
        if images.dtype != np.uint8:
            raise BadInput(f"x_{split} is {images.dtype}, not uint8", origin, "store the original bytes 0 to 255")
        if images.shape != wanted:
            raise BadInput(f"x_{split} has shape {images.shape}, not {wanted}", origin, "give all of it")
        return images

    def _labels(self, labels: np.ndarray, split: str, origin: str) -> np.ndarray:
        count, classes = self.counts[split], self.classes
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.shape != (count,) or labels.dtype.kind not in "iu":
            raise BadInput(f"y_{split} is {labels.dtype} {labels.shape}, not {count} integers", origin, "check it")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            found = f"y_{split}[{wrong[0]}] is {labels[wrong[0]]}, outside 0 to {len(classes) - 1}"
            raise BadInput(found, origin, f"{len(wrong)} labels are out of range")
        missing = sorted(set(range(len(classes))) - set(np.unique(labels).tolist()))
        if missing:
            raise BadInput(f"y_{split} has no example of {classes[missing[0]]}", origin, "give all classes")
        return labels.astype(np.uint8)

    def restricted(self, arrays: Arrays, manifest: dict, names: tuple[str, ...]) -> tuple[Arrays, dict]:
        """See :meth:`data.dataset.Dataset.restricted`; statistics and checksums are those of what is left."""
        arrays, manifest = super().restricted(arrays, manifest, names)
        return arrays, manifest | described(arrays, tuple(manifest["classes"]))

    def splits(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        """The official test set, and the training set with the validation part cut from it."""
        mean, deviation = tuple(manifest["mean"]), tuple(manifest["deviation"])
        spec = Spec(self.kind, tuple(manifest["classes"]), self.shape, mean, deviation)
        official = Split(arrays["x_train"], np.asarray(arrays["y_train"]))
        train, val = parts.cut(official.labels, config)
        test = Split(arrays["x_test"], np.asarray(arrays["y_test"]))
        return Splits(spec, official.take(train), official.take(val), test, manifest)


def described(arrays: Arrays, classes: tuple[str, ...]) -> dict:
    """What the manifest says of a training and a test set of images."""
    mean, deviation = channel_statistics(arrays["x_train"])
    counts = {split: np.bincount(arrays[f"y_{split}"], minlength=len(classes)).tolist() for split in ("train", "test")}
    return {
        "classes": list(classes),
        "counts": counts,
        "mean": mean,
        "deviation": deviation,
        "sha256": digest(arrays["x_train"], arrays["y_train"]),
        "test_sha256": digest(arrays["x_test"], arrays["y_test"]),
    }


def channel_statistics(images: Source) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, exact: counted, not summed in floats."""
    levels = np.arange(256) / 255
    mean, deviation = [], []
    for counts in sum(_levels(batch) for batch in batches(images)):
        share = counts / counts.sum()
        mean.append(float(share @ levels))
        deviation.append(float(np.sqrt(share @ (levels - mean[-1]) ** 2)))
    return mean, deviation


def _levels(images: np.ndarray) -> np.ndarray:
    """How often each of the 256 levels stands in each channel, (C, 256)."""
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)])
