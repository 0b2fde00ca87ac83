"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009).

50,000 training and 10,000 test colour images of 32x32 pixels. The publisher offers them as Python pickles and
in a binary form; both are read, neither is executed or extracted.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from data import archives, pickles
from data.errors import BadInput
from data.images import ImageDataset
from data.spec import Arrays, Remote

ADDRESS = "https://www.cs.toronto.edu/~kriz/"

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR100 = tuple(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()  # noqa: SIM905
)


def read(path: Path, name: str, train: tuple[str, ...], test: tuple[str, ...], label: str, head: int) -> Arrays:
    """Read the publisher's archive, Python or binary version, or a folder that holds one of the two.

    ``train`` and ``test`` name the batches, ``label`` the key of their labels in the Python version, ``head``
    the number of label bytes before each image of the binary version, of which the last one is the label.
    """
    if path.is_dir():
        present = [path / f"{name}-{form}.tar.gz" for form in ("python", "binary")]
        path = next((file for file in present if file.exists()), present[0])
    if "binary" in path.name:
        decode: Callable = partial(_decode_binary, head=head)
        train, test = (tuple(f"{batch}.bin" for batch in batches) for batches in (train, test))
    else:
        decode = partial(_decode_pickle, label=label)
    contents = archives.members(path, {*train, *test})
    arrays = {}
    for split, batches in (("train", train), ("test", test)):
        parts = [decode(contents[batch], path=path) for batch in batches]
        images = np.concatenate([part[0] for part in parts])
        # Stored as three planes of one colour each.
        arrays[f"x_{split}"] = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        arrays[f"y_{split}"] = np.concatenate([part[1] for part in parts])
    return arrays


def _decode_pickle(content: bytes, path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    batch = pickles.read(content, path)
    try:
        images, found = batch[b"data"], batch[label.encode()]
        if isinstance(found, list) and not all(isinstance(number, int) for number in found):
            raise ValueError("labels are no numbers")  # but lists of lists, say, of which a few are billions
        images, labels = np.asarray(images), np.asarray(found)
        if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072 or len(labels) != len(images):
            raise ValueError(f"images {images.dtype} {images.shape}, labels {labels.shape}")
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 255:
            raise ValueError("labels are no bytes")
        return images, labels.astype(np.uint8)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise BadInput(f"holds a batch of the wrong form ({error})", path, "use another copy") from None


def _decode_binary(content: bytes, path: Path, head: int) -> tuple[np.ndarray, np.ndarray]:
    if not content or len(content) % (head + 3072):
        raise BadInput("holds a batch of the wrong length", path, "use another copy")
    rows = np.frombuffer(content, np.uint8).reshape(-1, head + 3072)
    return rows[:, head:], rows[:, head - 1]


DATASETS = (
    ImageDataset(
        name="cifar10",
        shape=(32, 32, 3),
        classes=CIFAR10,
        counts={"train": 50_000, "test": 10_000},
        read=partial(
            read,
            name="cifar-10",
            train=tuple(f"data_batch_{number}" for number in range(1, 6)),
            test=("test_batch",),
            label="labels",
            head=1,
        ),
        remotes=(
            Remote(
                ADDRESS + "cifar-10-python.tar.gz",
                "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ),
        ),
        fallback="cifar10-standin",
    ),
    ImageDataset(
        name="cifar100",
        shape=(32, 32, 3),
        classes=CIFAR100,
        counts={"train": 50_000, "test": 10_000},
        read=partial(read, name="cifar-100", train=("train",), test=("test",), label="fine_labels", head=2),
        remotes=(
            Remote(
                ADDRESS + "cifar-100-python.tar.gz",
                "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            ),
        ),
        fallback="cifar10-standin",
    ),
)
