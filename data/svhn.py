"""Street View House Numbers, cropped digits (Netzer et al., NIPS Workshop on Deep Learning 2011).

32x32 colour images: 73,257 for training, 26,032 for testing, and 531,131 easier ones, which ``svhn-extra``
adds to the training set. MATLAB files; the digit 0 carries the label 10.
"""

from functools import partial
from pathlib import Path

import numpy as np

from data import matlab
from data.errors import BadInput
from data.images import ImageDataset
from data.spec import Arrays, Remote

ADDRESS = "http://ufldl.stanford.edu/housenumbers/"


def read(path: Path, train: tuple[str, ...]) -> Arrays:
    """Read a folder that holds the publisher's files, or that of one of them."""
    folder = path if path.is_dir() else path.parent
    parts = [_read_mat(folder / f"{name}_32x32.mat") for name in train]
    x_test, y_test = _read_mat(folder / "test_32x32.mat")
    x_train, y_train = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


LARGEST = 2**31
"""Bytes that a file unpacks to; the extra images have 1.6 GB."""


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = matlab.read(path, LARGEST)
    missing = sorted({"X", "y"} - set(content))
    if missing:
        raise BadInput(f"holds no {', '.join(missing)}", path, "use another copy")
    images, labels = content["X"], content["y"].ravel()
    if images.ndim != 4 or len(labels) != images.shape[-1] or not np.isin(labels, np.arange(1, 11)).all():
        raise BadInput("holds images or labels of the wrong form", path, "use another copy")
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), (labels % 10).astype(np.uint8)


def _dataset(name: str, train: tuple[str, ...], count: int) -> ImageDataset:
    return ImageDataset(
        name=name,
        shape=(32, 32, 3),
        classes=tuple("0123456789"),
        counts={"train": count, "test": 26_032},
        read=partial(read, train=train),
        remotes=tuple(Remote(f"{ADDRESS}{part}_32x32.mat") for part in (*train, "test")),
        fallback="digits",
    )


DATASETS = (_dataset("svhn", ("train",), 73_257), _dataset("svhn-extra", ("train", "extra"), 604_388))
