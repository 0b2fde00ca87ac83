"""How many copies of images `--find-duplicates` finds, by what became of them.

usage: python -m benchmarks.duplicates [DATASET]

500 test images of CIFAR-10 (or another dataset of colour images that is in the cache) are changed and put among
the first 10,000 training images. A copy is found where the pair is listed.
"""

import io

import numpy as np
from PIL import Image
from rich.table import Table

import data
from data import duplicates
from pipelines import command, reports

COPIES, OTHERS = 500, 10_000


def recompressed(quality):
    def act(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return act


def shifted(down, right):
    def act(image):
        height, width = image.shape[:2]
        return np.pad(image, ((down, 0), (right, 0), (0, 0)), mode="edge")[:height, :width]

    return act


def cut(pixels):
    """Without so many pixels at each side, in the old size."""

    def act(image):
        height, width = image.shape[:2]
        box = (pixels, pixels, width - pixels, height - pixels)
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))

    return act


def turned(degrees):
    return lambda image: np.asarray(Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC))


def scaled(contrast, brightness):
    return lambda image: np.clip(contrast * image + brightness, 0, 255).astype(np.uint8)


CHANGES = {
    "none": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "grey": lambda image: np.asarray(Image.fromarray(image).convert("L").convert("RGB")),
    "contrast 0.6, 30 brighter": scaled(0.6, 30.0),
    "JPEG, quality 75": recompressed(75),
    "JPEG, quality 30": recompressed(30),
    "shifted by 1 pixel": shifted(1, 0),
    "shifted by 2 and 2": shifted(2, 2),
    "shifted by 3 and 3": shifted(3, 3),
    "1 pixel cut off each side": cut(1),
    "2 pixels cut off each side": cut(2),
    "turned by 3 degrees": turned(3),
    "turned by 6 degrees": turned(6),
}


def main(arguments: list[str]) -> None:
    """Print the share that is found of each kind of copy."""
    cached = data.cached(arguments[0] if arguments else "cifar10")
    test, others = (np.array(cached.images[part][:count]) for part, count in (("test", COPIES), ("train", OTHERS)))
    table = Table(title=f"{len(test)} copies of test images of {cached.manifest['name']}", title_justify="left")
    for column in ("change", "found"):
        table.add_column(column, justify="left" if column == "change" else "right")
    for name, act in CHANGES.items():
        parts = {"train": np.concatenate([others, [act(image) for image in test]]), "test": test}
        pairs = duplicates.find(parts).pairs
        found = (pairs["other_row"] == pairs["row"] + len(others)).sum()
        table.add_row(name, f"{found / len(test):.1%}")
    reports.console().print(table)


if __name__ == "__main__":
    command.main(main)
