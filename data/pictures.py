"""One image file becomes pixels: the same at ingest and when a recorded model is asked about a file.

Turned as its EXIF data say, laid on white where it is transparent, 16 bits of grey scaled to 8, of an animation the
first frame; then brought to the wanted size.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from data.errors import reason

if TYPE_CHECKING:
    from PIL.Image import Image

SPARE = 2
"""A JPEG file is decoded to this many times the wanted side or more, not in full."""

LEAST = 4
"""Nor to less than this part of its sides. Of 800x600 pixels cut to 64, decoding in full takes 4.9 ms, to a quarter 1.2
ms, and its mean error grows from 0.2 to 0.3 levels; an eighth takes 1.0 ms, with an error of 3 to 12 levels."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow knows more, and goes by what a file holds: one that holds PostScript would be run, by Ghostscript."""

LARGEST = 2**26
"""Pixels of an image that is decoded, of a JPEG file after its reduction: 67 million, up to 1 GB while it is made
opaque. A few KB can claim so many."""

LARGE = 2**22
"""Pixels from which on images are decoded one at a time, whatever the number of threads, to bound the memory."""

_alone = threading.Lock()


def opened(source: str | Path | BinaryIO) -> Image:
    """An image file, of which the header is read. Of PNG, all checksums are compared: decoding passes over some."""
    from PIL import Image

    image = Image.open(source, formats=FORMATS)
    if image.format != "PNG":
        return image
    with image:
        image.verify()
    if hasattr(source, "seek"):
        source.seek(0)
    return Image.open(source, formats=FORMATS)


def look(file: str | BinaryIO) -> tuple[int, int, str, bool] | None:
    """Width, height and mode of an image file, and whether it is grey; None if it is none. Its pixels are not read."""
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            return *image.size, image.mode, _is_grey(image.mode)
    except Exception:  # a damaged image can raise anything
        return None


def pixels(source: str | Path | BinaryIO, shape: tuple[int, int, int], resize: str) -> np.ndarray:
    """An image file as uint8 pixels of this shape (H, W, C), C being 1 or 3.

    Args:
        source: its path or its bytes.
        shape: of the result.
        resize: crop keeps the middle that has the wanted proportions, pad keeps all and adds black, stretch distorts.

    Raises:
        ValueError: it can't be read; the text says why.
    """
    from PIL import UnidentifiedImageError

    height, width, channels = shape
    try:
        with opened(source) as image:
            image.draft(None, tuple(max(SPARE * max(height, width), -(-side // LEAST)) for side in image.size))
            count = image.width * image.height
            if count > LARGEST:
                raise ValueError(f"has {image.width} x {image.height} pixels, of {LARGEST:,} at most")
            with _alone if count > LARGE else nullcontext():
                ready = _fitted(_plain(image, channels), width, height, resize)
    except UnidentifiedImageError:
        raise ValueError("in no known format") from None
    except Exception as error:  # a damaged image can raise anything
        raise ValueError(reason(error)) from None
    return np.asarray(ready, np.uint8).reshape(shape)


def _is_grey(mode: str) -> bool:
    return mode in ("1", "L", "LA", "La") or mode.startswith("I;16")


def _plain(image: Image, channels: int) -> Image:
    """Upright, opaque, with 8 bits a channel."""
    from PIL import Image, ImageOps

    if image.mode in ("I", "F"):
        raise ValueError(f"has {image.mode} pixels, whose range is not known")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray(np.rint(np.asarray(upright) / 257).astype(np.uint8))
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    return upright.convert("L" if channels == 1 else "RGB")


def _fitted(image: Image, width: int, height: int, resize: str) -> Image:
    from PIL import Image, ImageOps

    if resize == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.BICUBIC)
    if resize == "crop":
        scale = min(image.width / width, image.height / height)
        kept = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (image.width - kept[0]) // 2, (image.height - kept[1]) // 2
        # Resizing a box of the whole would let what lies beside it bleed in.
        image = image.crop((left, top, left + kept[0], top + kept[1]))
    return image.resize((width, height), Image.Resampling.BICUBIC)
