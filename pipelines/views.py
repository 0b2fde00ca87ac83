"""Averages over several views of an image (test-time augmentation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.augmentation import windows

if TYPE_CHECKING:
    from pipelines.servable import Servable


def predict_averaged(model: Servable, images: np.ndarray, mirrored: bool) -> np.ndarray:
    """Mean of the outputs for each image as it is and shifted by a pixel along both diagonals, and their mirrors.

    Args:
        model: takes raw pixels.
        images: uint8 (N, H, W, C).
        mirrored: whether mirror images are views, too.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    corners = [np.full(len(images), corner) for corner in (0, 1, 2)]
    views = [windows(padded, corner, corner, *images.shape[1:3]) for corner in corners]
    if mirrored:
        views += [np.ascontiguousarray(view[:, :, ::-1]) for view in views]
    return np.mean([model.predict(view) for view in views], axis=0)
