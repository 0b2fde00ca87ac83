"""Images turned, scaled and distorted: all three in one bilinear resampling of a whole batch."""

from __future__ import annotations

import numpy as np

SMOOTHNESS = 4.0
"""Deviation in pixels of the Gaussian that smooths elastic displacements (Simard et al. 2003, section 2)."""


def warped(
    images: np.ndarray, rotation: float, zoom: float, elastic: float, generator: np.random.Generator
) -> np.ndarray:
    """Each image by draws of its own; what enters is black.

    Args:
        images: uint8 (N, H, W, C).
        rotation: largest angle in degrees, in either direction.
        zoom: largest part by which images grow or shrink.
        elastic: factor on displacements, uniform from -1 to 1 for each pixel and then smoothed.
        generator: of all draws.
    """
    from scipy import ndimage

    count, height, width, channels = images.shape
    angle = np.deg2rad(generator.uniform(-rotation, rotation, (count, 1, 1))).astype(np.float32)
    factor = 1 + generator.uniform(-zoom, zoom, (count, 1, 1)).astype(np.float32)
    row, column = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    middle = (height - 1) / 2, (width - 1) / 2
    down, right = (row - middle[0]) / factor, (column - middle[1]) / factor
    rows = middle[0] + np.cos(angle) * down + np.sin(angle) * right
    columns = middle[1] - np.sin(angle) * down + np.cos(angle) * right
    if elastic:
        noise = generator.uniform(-elastic, elastic, (2, count, height, width)).astype(np.float32)
        moved = ndimage.gaussian_filter(noise, (0, 0, SMOOTHNESS, SMOOTHNESS), mode="constant")
        rows, columns = rows + moved[0], columns + moved[1]
    number = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], rows.shape)
    places = np.stack([number, rows, columns])
    # One image after the other on the first axis; at whole numbers of it nothing of a neighbour comes in.
    planes = [
        ndimage.map_coordinates(images[..., channel], places, output=np.float32, order=1, mode="grid-constant")
        for channel in range(channels)
    ]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
