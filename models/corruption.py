"""Noise on the input of a denoising autoencoder; importable without keras."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.errors import BadInput

FIXED = 2010
"""Seeds the one draw of each row that evaluation uses."""


@dataclass(frozen=True)
class Corruption:
    """What is done to images before they are encoded; the targets stay clean.

    The three kinds of P. Vincent et al., Stacked Denoising Autoencoders (JMLR 11, 2010, section 3.3). What is
    blackened, or set to black or white, is a pixel with all of its channels; Gaussian noise differs by channel.
    """

    kind: Literal["none", "gaussian", "salt-and-pepper", "masking"] = "none"
    """gaussian: added; salt-and-pepper: some pixels black or white, evenly; masking: some pixels black."""
    amount: float = 0.0
    """gaussian: the deviation on the scale 0 to 1; else the probability that a pixel is hit."""
    translation: int = 0
    """Before the noise: move by up to this many pixels in each direction; what enters is black. A code from which the
    image in its place is decoded says what is seen more than where: classes are read off it more easily."""
    shear: float = 0.0
    """Before the noise: slant by up to this many pixels a line, about the middle line."""

    @property
    def any(self) -> bool:
        """Whether anything is done."""
        return self.kind != "none" or bool(self.translation or self.shear)

    def check(self) -> None:
        """Refuse what can't be.

        Raises:
            BadInput: with the flag that has to change.
        """
        highest = np.inf if self.kind == "gaussian" else 1.0
        if not 0 <= self.amount <= highest or (self.kind != "none" and not self.amount):
            what = f"{self.amount} is no amount of {self.kind} noise"
            do = "give a deviation above 0" if self.kind == "gaussian" else "give a share from above 0 to 1"
            raise BadInput(what, "--model.corruption.amount", do)
        if self.kind == "none" and self.amount:
            raise BadInput("an amount, but no kind", "--model.corruption.kind", "name one or leave the amount at 0")
        if self.translation < 0 or self.shear < 0:
            raise BadInput("translation and shear are not negative", "--model.corruption", "give the largest of them")

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Noisy copies, rounded and clipped to 0 to 255, of images uint8 (N, H, W, C); uint8 of the same shape."""
        if self.translation or self.shear:
            images = self._moved(images, generator)
        if self.kind == "none":
            return images
        if self.kind == "gaussian":
            noise = generator.standard_normal(images.shape, np.float32)
            noise *= 255 * self.amount
            noise += images
            return np.clip(np.rint(noise, out=noise), 0, 255, out=noise).astype(np.uint8)
        draw = generator.random((*images.shape[:3], 1), np.float32)
        noisy = np.where(draw < self.amount, np.uint8(0), images)
        if self.kind == "salt-and-pepper":
            noisy = np.where(draw < self.amount / 2, np.uint8(255), noisy)
        return noisy

    def fixed(self, images: np.ndarray, rows: Iterable[int]) -> np.ndarray:
        """The same noise each time on the images of these rows, in whatever batches they come."""
        if not self.any:
            return images
        pairs = zip(images, rows, strict=True)
        noisy = [self(image[None], np.random.default_rng([FIXED, int(row)]))[0] for image, row in pairs]
        return np.stack(noisy) if noisy else images

    def _moved(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        count, height, width, _ = images.shape
        down, right = generator.integers(-self.translation, self.translation + 1, (2, count, 1))
        slant = generator.uniform(-self.shear, self.shear, (count, 1))
        lines = np.arange(height)
        rows = (lines - down)[:, :, None]
        aside = right + np.rint(slant * (lines - (height - 1) / 2)).astype(int)  # of each line, (N, H)
        columns = np.arange(width) - aside[:, :, None]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        taken = images[np.arange(count)[:, None, None], rows.clip(0, height - 1), columns.clip(0, width - 1)]
        return np.where(inside[..., None], taken, np.uint8(0))
