"""MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747).

60,000 training and 10,000 test grey images of 28x28 pixels, in the IDX format or as Keras' ``mnist.npz``.
"""

from pathlib import Path

from data import archives
from data.errors import BadInput
from data.images import ImageDataset
from data.spec import Arrays, Remote

FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def read(path: Path) -> Arrays:
    """Read ``mnist.npz`` or a folder of the four IDX files, gzipped or not."""
    if (path / "mnist.npz").exists():
        path = path / "mnist.npz"
    if not path.is_dir():
        return archives.read_npz(path, archives.LIMIT)
    arrays = {}
    for key, name in FILES.items():
        found = [file for file in (path / f"{name}.gz", path / name) if file.exists()]
        if not found:
            raise BadInput(f"holds no {name}.gz", path, "give the folder of the publisher's four files")
        arrays[key] = archives.read_idx(found[0])
    return arrays


COUNTS = {"train": 60_000, "test": 10_000}

FASHION = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

FASHION_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

DATASETS = (
    ImageDataset(
        name="mnist",
        shape=(28, 28, 1),
        classes=tuple("0123456789"),
        counts=COUNTS,
        read=read,
        remotes=(
            Remote(
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
                "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
            ),
        ),
        fallback="digits",
    ),
    ImageDataset(
        name="fashion_mnist",
        shape=(28, 28, 1),
        classes=FASHION,
        counts=COUNTS,
        read=read,
        # The publisher gives MD5 sums, and no SHA-256.
        remotes=(
            Remote(FASHION_ADDRESS + FILES["x_train"] + ".gz", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            Remote(FASHION_ADDRESS + FILES["y_train"] + ".gz", "md5:25c81989df183df01b3e8a0aad5dffbe"),
            Remote(FASHION_ADDRESS + FILES["x_test"] + ".gz", "md5:bef4ecab320f06d8554ea6380940ec79"),
            Remote(FASHION_ADDRESS + FILES["y_test"] + ".gz", "md5:bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        fallback="digits",
    ),
)
