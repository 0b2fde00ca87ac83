"""Augmentation of whole batches in NumPy, the same on every Keras backend.

Each batch is a pure function of (seed, epoch, position): an epoch can be replayed and a run continued exactly.
Images are uint8 (N, H, W, C) throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pipelines.warping import warped


@dataclass(frozen=True)
class Moment:
    """Where in the training a batch stands; decides every random draw for it."""

    seed: int
    epoch: int
    position: int
    """Number of the batch in its epoch, from 0."""
    rows: np.ndarray
    """Row of each example in the training set."""

    def generator(self, *stream: int) -> np.random.Generator:
        """A fresh generator for this batch; another one for each stream."""
        return np.random.default_rng([self.seed, self.epoch, self.position, *stream])


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images, in this order; everything is off by default."""

    resize: int = 0
    """Side in pixels that all images are resized to first, here and inside the recorded model; 0: as they are."""
    patch: int = 0
    """Side of the random patch cut from each image (AlexNet: 224 of 256); the middle one when evaluating."""
    flip: Literal["none", "random", "alternate"] = "none"
    """Mirror left and right: by chance, or each image in every other epoch (K. Jordan, arXiv 2404.00498, 3.4)."""
    crop: int = 0
    """Pad each side by this many reflected pixels and crop the size back at random (He et al. 2015, section 4.2)."""
    translation: int = 0
    """Shift by up to this many pixels in each direction; what enters is black."""
    rotation: float = 0.0
    """Turn by up to so many degrees either way; what enters is black."""
    zoom: float = 0.0
    """Enlarge or reduce by up to this part."""
    elastic: float = 0.0
    """Distort by smooth random displacements (Simard, Steinkraus, Platt, ICDAR 2003, section 2): their alpha, 34 in the
    paper for digits."""
    cutout: int = 0
    """Side of a grey square that covers a random place, borders included (DeVries, Taylor, arXiv 1708.04552)."""
    brightness: float = 0.0
    """Add a random part, up to this one, of the range of values."""
    contrast: float = 0.0
    """Scale the distance from each image's mean by 1 plus or minus up to this."""
    color: float = 0.0
    """Scale the distance from each pixel's grey by 1 plus or minus up to this."""
    mixup: float = 0.0
    """Alpha of MixUp (Zhang et al., arXiv 1710.09412): blend pairs of images and of labels; 0: off."""
    cutmix: float = 0.0
    """Alpha of CutMix (Yun et al., arXiv 1905.04899): paste a box of another image; 0: off. With mixup, either by
    chance for each batch."""

    def __call__(self, images: np.ndarray, targets: np.ndarray, moment: Moment) -> tuple[np.ndarray, np.ndarray]:
        """Augment a batch.

        Args:
            images: uint8 (N, H, W, C).
            targets: float32 (N, classes), one row of probabilities for each image.
            moment: the batch's place in the training.
        """
        generator = moment.generator()
        images = resized(images, self.resize)
        if self.patch:
            images = random_patches(images, self.patch, generator)
        if self.flip != "none":
            images = self._flipped(images, moment, generator)
        if self.crop:
            images = shifted(images, self.crop, "reflect", generator)
        if self.translation:
            images = shifted(images, self.translation, "constant", generator)
        if self.rotation or self.zoom or self.elastic:
            images = warped(images, self.rotation, self.zoom, self.elastic, generator)
        if self.cutout:
            images = covered(images, self.cutout, generator)
        if self.brightness or self.contrast or self.color:
            images = self._recolored(images, generator)
        return self._mixed(images, targets, generator)

    def evaluation_view(self, images: np.ndarray) -> np.ndarray:
        """What evaluation sees of raw images: resized, and the middle patch."""
        images = resized(images, self.resize)
        if not self.patch:
            return images
        top, left = ((side - self.patch) // 2 for side in images.shape[1:3])
        return images[:, top : top + self.patch, left : left + self.patch]

    def view_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of an augmented image, given that of a raw one."""
        side = self.patch or self.resize
        return (side, side, shape[2]) if side else shape

    def _flipped(self, images: np.ndarray, moment: Moment, generator: np.random.Generator) -> np.ndarray:
        if self.flip == "random":
            mirror = generator.random(len(images)) < 0.5
        else:
            # One coin for each example of the training set, thrown once, then turned over each epoch.
            coins = np.random.default_rng([moment.seed, 0, 0, 1]).integers(0, 2, 1 + int(moment.rows.max()))
            mirror = (coins[moment.rows] + moment.epoch) % 2 == 1
        return np.where(mirror[:, None, None, None], images[:, :, ::-1], images)

    def _recolored(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        def factor(spread: float) -> np.ndarray:
            return generator.uniform(-spread, spread, (len(images), 1, 1, 1)).astype(np.float32)

        x = images.astype(np.float32) + 255 * factor(self.brightness)
        middle = x.mean(axis=(1, 2, 3), keepdims=True)
        x = middle + (x - middle) * (1 + factor(self.contrast))
        grey = x.mean(axis=3, keepdims=True)
        x = grey + (x - grey) * (1 + factor(self.color))
        return to_uint8(x)

    def _mixed(
        self, images: np.ndarray, targets: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.mixup and self.cutmix:
            mix = mixed_up if generator.random() < 0.5 else cut_and_mixed
        elif self.mixup or self.cutmix:
            mix = mixed_up if self.mixup else cut_and_mixed
        else:
            return images, targets
        return mix(images, targets, self.mixup if mix is mixed_up else self.cutmix, generator)


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Rounded and clipped to 0 to 255."""
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def scaled(images: np.ndarray) -> np.ndarray:
    """Pixels uint8 on the scale 0 to 1, float32."""
    return images.astype(np.float32) / np.float32(255)


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """Bilinear resizing to side x side pixels, antialiased where it makes smaller; 0 leaves images as they are.

    Two matrix products for the whole batch, the same for every image: a library would go one by one.
    """
    if not side or images.shape[1:3] == (side, side):
        return images
    count, height, width, channels = images.shape
    vertical, horizontal = (_resizing(length, side) for length in (height, width))
    lines = np.matmul(vertical, images.reshape(count, height, -1).astype(np.float32))
    return to_uint8(np.matmul(horizontal, lines.reshape(count, side, width, channels)))


@lru_cache(maxsize=8)
def _resizing(old: int, new: int) -> np.ndarray:
    """The weight of each old pixel in each new one, shape (new, old): a triangle as wide as the larger pixel."""
    scale = old / new
    centers = (np.arange(new) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(old) - centers[:, None]) / max(1.0, scale)
    weights = np.maximum(0, 1 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def windows(images: np.ndarray, top: np.ndarray, left: np.ndarray, height: int, width: int) -> np.ndarray:
    """From each image the window of this height and width at its own corner."""
    view = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
    cut = view[np.arange(len(images)), top, left]  # (N, C, height, width)
    return np.ascontiguousarray(cut.transpose(0, 2, 3, 1))


def random_patches(images: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    """A random square patch of each image."""
    top, left = (generator.integers(0, length - side + 1, len(images)) for length in images.shape[1:3])
    return windows(images, top, left, side, side)


def shifted(images: np.ndarray, by: int, mode: str, generator: np.random.Generator) -> np.ndarray:
    """Each image shifted by up to ``by`` pixels; the border is filled by NumPy's padding mode."""
    padded = np.pad(images, ((0, 0), (by, by), (by, by), (0, 0)), mode)
    top, left = generator.integers(0, 2 * by + 1, (2, len(images)))
    return windows(padded, top, left, *images.shape[1:3])


def covered(images: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    """A grey square over each image; its centre may lie at the border, where part of it falls outside."""
    height, width = images.shape[1:3]
    row, column = generator.integers(0, height, len(images)), generator.integers(0, width, len(images))
    above, before = row - side // 2, column - side // 2
    rows, columns = np.arange(height), np.arange(width)
    inside_rows = (rows >= above[:, None]) & (rows < above[:, None] + side)
    inside_columns = (columns >= before[:, None]) & (columns < before[:, None] + side)
    hidden = inside_rows[:, :, None, None] & inside_columns[:, None, :, None]
    return np.where(hidden, np.uint8(128), images)


def mixed_up(
    images: np.ndarray, targets: np.ndarray, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each image and target blended with those of a partner, by a share drawn from Beta(alpha, alpha)."""
    partner = generator.permutation(len(images))
    share = generator.beta(alpha, alpha, len(images)).astype(np.float32)
    pixels = share[:, None, None, None]
    mixed = to_uint8(pixels * images + (1 - pixels) * images[partner])
    return mixed, share[:, None] * targets + (1 - share[:, None]) * targets[partner]


def cut_and_mixed(
    images: np.ndarray, targets: np.ndarray, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A box of a partner pasted into each image; targets mixed by the area that is left and pasted."""
    count, height, width = images.shape[:3]
    partner = generator.permutation(count)
    ratio = np.sqrt(1 - generator.beta(alpha, alpha, count))
    middle = generator.random((2, count))

    def span(center: np.ndarray, length: int) -> np.ndarray:
        """Whether each of ``length`` places lies in the box, shape (N, length)."""
        start = np.rint(center * length - ratio * length / 2)
        places = np.arange(length)
        return (places >= start[:, None]) & (places < (start + np.rint(ratio * length))[:, None])

    box = span(middle[0], height)[:, :, None] & span(middle[1], width)[:, None, :]
    kept = 1 - box.mean(axis=(1, 2), dtype=np.float32)[:, None]
    return np.where(box[..., None], images[partner], images), kept * targets + (1 - kept) * targets[partner]
