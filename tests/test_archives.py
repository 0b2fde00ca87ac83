import dataclasses
import gzip
import io
import os
import pickle
import struct
import tarfile
import zlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

import data
from data import archives, pickles, store
from data.errors import BadInput

PYTHON10 = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small(name, train, test):
    return dataclasses.replace(data.find(name), counts={"train": train, "test": test})


def ingested(dataset, path):
    return store.open_arrays(dataset, "local", store.ingest(dataset, "local", path))


def refused(path, read, *arguments):
    """The one line that a copy is refused with; it names what was read."""
    with pytest.raises(BadInput) as caught:
        read(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


def pictures(count, height=32, channels=3):
    return GENERATOR.integers(0, 256, (count, height, height, channels), dtype=np.uint8)


def planes(images):
    """The publisher's order: all red pixels of an image, then all green, then all blue ones."""
    return np.concatenate([images[..., channel].reshape(len(images), -1) for channel in range(3)], axis=1)


def write_tar(path, contents, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def python2_pickle(batch):
    """What Python 2 wrote: protocol 2, text as byte strings, NumPy's array and its buffer under their old names."""
    images, parts = batch["data"], [b"\x80\x02}("]

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    def array(value):
        kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
        kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        made = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b")
        made += b"\x87R"
        shape = b"(" + b"".join(number(size) for size in value.shape) + b"t"
        return made + b"(" + number(1) + shape + kind + b"\x89" + text(value.tobytes()) + b"tb"

    for key, value in batch.items():
        if key == "data":
            parts += [text(b"data"), array(images)]
        else:
            parts += [text(key.encode()), b"](" + b"".join(number(int(item)) for item in value) + b"e"]
    return b"".join([*parts, b"u."])


def cifar10_contents(form, images, labels):
    """Six batches of ten images each, in either of the publisher's forms."""
    contents = {}
    for number, name in enumerate(PYTHON10):
        rows = slice(10 * number, 10 * number + 10)
        if form == "python":
            batch = {"data": planes(images[rows]), "labels": labels[rows]}
            contents[f"cifar-10-batches-py/{name}"] = python2_pickle(batch)
        else:
            content = np.concatenate([labels[rows, None].astype(np.uint8), planes(images[rows])], axis=1)
            contents[f"cifar-10-batches-bin/{name}.bin"] = content.tobytes()
    return contents


@pytest.fixture
def cifar10():
    return small("cifar10", 50, 10), pictures(60), np.tile(GENERATOR.permutation(10), 6)


@pytest.fixture
def binary(tmp_path, cifar10):
    return write_tar(tmp_path / "cifar-10-binary.tar.gz", cifar10_contents("binary", *cifar10[1:]))


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar10_archive_gives_back_every_pixel_and_label(tmp_path, cifar10, form):
    dataset, images, labels = cifar10
    path = write_tar(tmp_path / f"cifar-10-{form}.tar.gz", cifar10_contents(form, images, labels))
    arrays = ingested(dataset, path)
    assert np.array_equal(arrays["x_train"], images[:50])
    assert np.array_equal(arrays["x_test"], images[50:])
    assert np.array_equal(arrays["y_train"], labels[:50])
    assert np.array_equal(arrays["y_test"], labels[50:])


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar_is_found_in_the_folder_that_holds_its_archive(tmp_path, cifar10, form):
    dataset, images, labels = cifar10
    folder = tmp_path / "downloads"
    folder.mkdir()
    write_tar(folder / f"cifar-10-{form}.tar.gz", cifar10_contents(form, images, labels))
    assert np.array_equal(ingested(dataset, folder)["x_train"], images[:50])


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar100_takes_the_fine_labels(tmp_path, form):
    images, fine = pictures(200), np.tile(GENERATOR.permutation(100), 2)
    contents = {}
    for name, rows in (("train", slice(0, 100)), ("test", slice(100, 200))):
        coarse = fine[rows] // 5
        if form == "python":
            batch = {"data": planes(images[rows]), "coarse_labels": coarse, "fine_labels": fine[rows]}
            contents[f"cifar-100-python/{name}"] = python2_pickle(batch)
        else:
            columns = [coarse[:, None].astype(np.uint8), fine[rows, None].astype(np.uint8), planes(images[rows])]
            contents[f"cifar-100-binary/{name}.bin"] = np.concatenate(columns, axis=1).tobytes()
    path = write_tar(tmp_path / f"cifar-100-{form}.tar.gz", contents)
    arrays = ingested(small("cifar100", 100, 100), path)
    assert np.array_equal(arrays["y_train"], fine[:100])
    assert np.array_equal(arrays["y_test"], fine[100:])
    assert np.array_equal(arrays["x_test"], images[100:])


class Command:
    def __init__(self, line):
        self.line = line

    def __reduce__(self):
        return os.system, (self.line,)


class Evaluated:
    def __init__(self, code):
        self.code = code

    def __reduce__(self):
        return eval, (self.code,)


@pytest.mark.parametrize("kind", ["command", "builtin", "within"])
def test_hostile_pickle_is_refused_and_not_executed(tmp_path, cifar10, kind):
    dataset, images, labels = cifar10
    trace = tmp_path / "executed"
    contents = cifar10_contents("python", images, labels)
    if kind == "command":
        value = Command(f"touch {trace}")
    elif kind == "builtin":
        value = Evaluated(f"open({str(trace)!r}, 'w')")
    else:
        value = {b"data": planes(images[:10]), b"labels": Command(f"touch {trace}")}
    contents["cifar-10-batches-py/data_batch_3"] = pickle.dumps(value, 2)
    path = write_tar(tmp_path / "cifar-10-python.tar.gz", contents)
    assert "pickle" in refused(path, store.ingest, dataset, "local", path)
    assert not trace.exists()
    assert store.read_manifest(dataset, "local") is None


def test_names_that_lead_out_of_an_archive_write_nothing(tmp_path, cifar10, cache, monkeypatch):
    dataset, images, labels = cifar10
    work = tmp_path / "work" / "here"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    path = tmp_path / "cifar-10-binary.tar.gz"
    contents = cifar10_contents("binary", images, labels)
    hostile = {"../escaped.bin": b"x", str(tmp_path / "absolute.bin"): b"x", "sub/../../escaped.bin": b"x"}
    escaping = {f"../{name}": content for name, content in contents.items()}
    write_tar(path, {**hostile, **escaping})
    before = sorted(tmp_path.rglob("*"))
    arrays = ingested(dataset, path)
    assert np.array_equal(arrays["x_train"], images[:50])
    after = [entry for entry in tmp_path.rglob("*") if entry != cache and cache not in entry.parents]
    assert sorted(after) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_an_archive_are_not_followed(tmp_path, kind):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("wanted")
        member.type, member.linkname = kind, str(secret)
        archive.addfile(member)
    assert "holds no wanted" in refused(path, archives.members, path, {"wanted"})
    assert sorted(tmp_path.iterdir()) == [path, secret]


def test_member_that_claims_a_huge_size_is_refused(tmp_path):
    path = tmp_path / "huge.tar"
    member = tarfile.TarInfo("wanted")
    member.size = 2**40
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "claims" in refused(path, archives.members, path, {"wanted"})


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.8, 0.99])
def test_truncated_archive_is_refused(cifar10, binary, share):
    content = binary.read_bytes()
    binary.write_bytes(content[: int(share * len(content))])
    refused(binary, store.ingest, cifar10[0], "local", binary)


@pytest.mark.parametrize("place", [0.05, 0.2, 0.37, 0.5, 0.77, 0.9])
def test_flipped_bit_in_an_archive_is_noticed(cifar10, binary, place):
    content = bytearray(binary.read_bytes())
    content[int(place * len(content))] ^= 1
    binary.write_bytes(content)
    refused(binary, store.ingest, cifar10[0], "local", binary)


def test_archive_without_a_batch_names_it(tmp_path, cifar10):
    dataset, images, labels = cifar10
    contents = cifar10_contents("python", images, labels)
    del contents["cifar-10-batches-py/data_batch_4"]
    path = write_tar(tmp_path / "cifar-10-python.tar.gz", contents)
    assert "data_batch_4" in refused(path, store.ingest, dataset, "local", path)


def test_missing_archive_is_refused(tmp_path, cifar10):
    path = tmp_path / "nowhere.tar.gz"
    assert "no such file" in refused(path, store.ingest, cifar10[0], "local", path)


@pytest.mark.parametrize("batch", [b"", bytes(3072), bytes(3073 * 10 + 1)])
def test_binary_batch_of_the_wrong_length_is_refused(tmp_path, cifar10, batch):
    dataset, images, labels = cifar10
    contents = {**cifar10_contents("binary", images, labels), "cifar-10-batches-bin/data_batch_2.bin": batch}
    path = write_tar(tmp_path / "cifar-10-binary.tar.gz", contents)
    assert "wrong length" in refused(path, store.ingest, dataset, "local", path)


@pytest.mark.parametrize(
    "batch",
    [
        {"labels": range(10)},
        {"data": np.zeros((10, 3072), np.uint8)},
        {"data": np.zeros((10, 3071), np.uint8), "labels": range(10)},
        {"data": np.zeros((10, 3072), np.uint8), "labels": range(9)},
        {"data": np.zeros((10, 3072), np.uint8), "labels": range(-1, 9)},
        {"data": np.zeros((10, 3072), np.uint8), "labels": range(300, 310)},
    ],
)
def test_pickled_batch_of_the_wrong_form_is_refused(tmp_path, cifar10, batch):
    dataset, images, labels = cifar10
    contents = cifar10_contents("python", images, labels)
    contents["cifar-10-batches-py/data_batch_5"] = python2_pickle({"data": np.zeros((0,), np.uint8)} | batch)
    path = write_tar(tmp_path / "cifar-10-python.tar.gz", contents)
    assert "wrong form" in refused(path, store.ingest, dataset, "local", path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02]q\x00.", b"garbage", b"\x80\x02}q\x00"])
def test_pickle_that_is_no_batch_is_refused(tmp_path, content):
    path = tmp_path / "batch"
    assert "pickle" in refused(path, pickles.read, content, path)


def digits(train=20, test=10, **changes):
    arrays = {
        "x_train": pictures(train, 28, 1)[..., 0],
        "y_train": np.arange(train) % 10,
        "x_test": pictures(test, 28, 1)[..., 0],
        "y_test": np.arange(test) % 10,
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def save(path, arrays, compressed=False):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("colour_axis", [False, True])
@pytest.mark.parametrize("column", [False, True])
def test_npz_is_read_with_and_without_the_axes_of_length_one(tmp_path, compressed, colour_axis, column):
    arrays = digits()
    given = dict(arrays)
    for split in ("train", "test"):
        if colour_axis:
            given[f"x_{split}"] = given[f"x_{split}"][..., None]
        if column:
            given[f"y_{split}"] = given[f"y_{split}"][:, None]
    found = ingested(small("mnist", 20, 10), save(tmp_path / "mnist.npz", given, compressed))
    for split, count in (("train", 20), ("test", 10)):
        assert found[f"x_{split}"].shape == (count, 28, 28, 1)
        assert found[f"x_{split}"].dtype == found[f"y_{split}"].dtype == np.uint8
        assert np.array_equal(found[f"x_{split}"][..., 0], arrays[f"x_{split}"])
        assert np.array_equal(found[f"y_{split}"], arrays[f"y_{split}"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"y_test": None}, "holds no y_test"),
        ({"x_train": None, "x_test": None}, "holds no x_train, x_test"),
        ({"x_train": np.zeros((20, 28, 28), np.float32)}, "x_train is float32, not uint8"),
        ({"x_test": np.zeros((10, 28, 28), np.int64)}, "x_test is int64, not uint8"),
        ({"x_train": np.zeros((20, 28, 27), np.uint8)}, "x_train has shape (20, 28, 27, 1)"),
        ({"x_train": np.zeros((20, 28, 28, 3), np.uint8)}, "x_train has shape (20, 28, 28, 3)"),
        ({"x_train": np.zeros((19, 28, 28), np.uint8)}, "not (20, 28, 28, 1)"),
        ({"y_train": np.arange(19) % 10}, "not 20 integers"),
        ({"y_train": np.arange(20.0) % 10}, "y_train is float64"),
        ({"y_train": np.zeros((20, 2), int)}, "y_train is int64 (20, 2)"),
        ({"y_train": np.r_[np.arange(19) % 10, 10]}, "y_train[19] is 10"),
        ({"y_test": np.r_[-1, np.arange(9)]}, "y_test[0] is -1"),
        ({"y_train": np.arange(20) % 9}, "no example of 9"),
        ({"y_train": np.array([None] * 20, object)}, "pickle"),
    ],
)
def test_npz_that_does_not_fit_the_dataset_is_refused(tmp_path, changes, named):
    path = save(tmp_path / "copy.npz", digits(**changes))
    dataset = small("mnist", 20, 10)
    assert named in refused(path, store.ingest, dataset, "local", path)
    assert store.read_manifest(dataset, "local") is None


def test_object_array_in_an_npz_is_not_unpickled(tmp_path):
    trace = tmp_path / "executed"
    hostile = np.array([Command(f"touch {trace}")] * 20, object)
    path = save(tmp_path / "copy.npz", digits(y_train=hostile))
    refused(path, store.ingest, small("mnist", 20, 10), "local", path)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_npz_is_refused(tmp_path, share):
    path = save(tmp_path / "copy.npz", digits(), compressed=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, store.ingest, small("mnist", 20, 10), "local", path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", [0.1, 0.3, 0.5])
def test_flipped_bit_in_an_npz_is_noticed(tmp_path, compressed, place):
    path = save(tmp_path / "copy.npz", digits(), compressed)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 16
    path.write_bytes(content)
    refused(path, store.ingest, small("mnist", 20, 10), "local", path)


def test_single_array_under_the_name_of_an_npz_is_refused(tmp_path):
    path = tmp_path / "copy.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3, np.uint8))
    refused(path, store.ingest, small("mnist", 20, 10), "local", path)


@pytest.fixture
def folder(tmp_path):
    """One training and one test image of each class of CIFAR-10; returns the folder and the images."""
    images = {split: pictures(10) for split in ("train", "test")}
    for split, split_images in images.items():
        for name, image in zip(data.find("cifar10").classes, split_images, strict=True):
            place = tmp_path / "copy" / split / name
            place.mkdir(parents=True)
            Image.fromarray(image).save(place / "0.png")
    return tmp_path / "copy", images


def test_folder_of_images_gives_back_every_pixel(folder):
    path, images = folder
    arrays = ingested(small("cifar10", 10, 10), path)
    for split in ("train", "test"):
        assert np.array_equal(arrays[f"x_{split}"], images[split])
        assert arrays[f"y_{split}"].tolist() == list(range(10))


def test_grey_images_of_a_class_with_a_slash_in_its_name_are_read(tmp_path):
    dataset, images = small("fashion_mnist", 10, 10), pictures(10, 28, 1)
    for split in ("train", "test"):
        for name, image in zip(dataset.classes, images[..., 0], strict=True):
            (tmp_path / "copy" / split / name).mkdir(parents=True)
            Image.fromarray(image).save(tmp_path / "copy" / split / name / "0.png")
    assert np.array_equal(ingested(dataset, tmp_path / "copy")["x_train"], images)


def test_folder_without_a_class_names_it(folder):
    path = folder[0]
    (path / "test" / "frog" / "0.png").unlink()
    text = refused(path, store.ingest, small("cifar10", 10, 10), "local", path)
    assert str(path / "test" / "frog") in text


def test_folder_with_an_unknown_class_names_it(folder):
    path = folder[0]
    (path / "train" / "zebra").mkdir()
    assert "zebra" in refused(path, store.ingest, small("cifar10", 10, 10), "local", path)


def test_folder_with_too_few_images_is_refused(folder):
    path = folder[0]
    assert "(10, 32, 32, 3)" in refused(path, store.ingest, small("cifar10", 11, 10), "local", path)


def png_that_claims(width, height):
    content = io.BytesIO()
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(content, "png")
    header = struct.pack(">II", width, height)
    raw = bytearray(content.getvalue())
    raw[16:24] = header
    raw[29:33] = struct.pack(">I", zlib.crc32(raw[12:29]))
    return bytes(raw)


@pytest.mark.parametrize("kind", ["size", "text", "empty", "cut", "bomb"])
def test_file_that_is_no_fitting_image_is_named(folder, kind):
    path = folder[0]
    image = path / "train" / "ship" / "0.png"
    if kind == "size":
        Image.fromarray(pictures(1, 31)[0]).save(image)
    elif kind == "bomb":
        image.write_bytes(png_that_claims(60_000, 60_000))
    else:
        image.write_bytes({"text": b"no image", "empty": b"", "cut": image.read_bytes()[:200]}[kind])
    text = refused(path, store.ingest, small("cifar10", 10, 10), "local", path)
    assert str(image) in text


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@pytest.fixture
def write_idx(tmp_path):
    def write(arrays, zipped):
        place = tmp_path / "mnist"
        place.mkdir()
        for key, name in IDX.items():
            content = idx(arrays[key])
            (place / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
        return place

    return write


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_give_back_every_pixel_and_label(write_idx, name, zipped):
    arrays = digits()
    found = ingested(small(name, 20, 10), write_idx(arrays, zipped))
    for split in ("train", "test"):
        assert np.array_equal(found[f"x_{split}"][..., 0], arrays[f"x_{split}"])
        assert np.array_equal(found[f"y_{split}"], arrays[f"y_{split}"])


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0, 3, 7, 100, -1])
def test_truncated_idx_file_is_named(write_idx, zipped, kept):
    path = write_idx(digits(), zipped)
    file = path / (IDX["x_train"] + ".gz" * zipped)
    file.write_bytes(file.read_bytes()[:kept])
    refused(file, store.ingest, small("mnist", 20, 10), "local", path)


def test_missing_idx_file_is_named(write_idx):
    path = write_idx(digits(), True)
    file = path / f"{IDX['y_test']}.gz"
    file.unlink()
    refused(file, store.ingest, small("mnist", 20, 10), "local", path)


@pytest.fixture
def svhn(tmp_path):
    """Publisher's files of 20 and 10 digits; returns their folder, the images and the labels 1 to 10."""
    images, labels, place = pictures(30), np.tile(np.r_[10, 1:10], 3), tmp_path / "svhn"
    place.mkdir()
    for name, rows in (("train", slice(0, 20)), ("test", slice(20, 30))):
        content = {"X": images[rows].transpose(1, 2, 3, 0), "y": labels[rows, None]}
        scipy.io.savemat(place / f"{name}_32x32.mat", content, do_compression=True)
    return place, images, labels


def test_svhn_label_ten_is_the_digit_zero(svhn):
    path, images, labels = svhn
    arrays = ingested(small("svhn", 20, 10), path)
    assert arrays["y_train"].tolist() == list(range(10)) * 2
    assert np.array_equal(arrays["x_train"], images[:20])
    assert np.array_equal(arrays["x_test"], images[20:])
    assert labels[0] == 10


def test_svhn_extra_appends_the_extra_images(svhn):
    path, images, labels = svhn
    scipy.io.savemat(path / "extra_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]})
    arrays = ingested(small("svhn-extra", 50, 10), path)
    assert np.array_equal(arrays["x_train"], np.concatenate([images[:20], images]))


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "keys", "labels", "missing"])
def test_svhn_file_that_can_not_be_used_is_named(svhn, kind):
    path, images, labels = svhn
    file = path / "train_32x32.mat"
    content = file.read_bytes()
    stacked = images[:20].transpose(1, 2, 3, 0)
    if kind == "keys":
        scipy.io.savemat(file, {"X": stacked})
    elif kind == "labels":
        scipy.io.savemat(file, {"X": stacked, "y": labels[:20, None] - 1})
    elif kind == "missing":
        file.unlink()
    else:
        file.write_bytes({"truncated": content[: len(content) // 2], "empty": b"", "text": b"no mat " * 99}[kind])
    refused(file, store.ingest, small("svhn", 20, 10), "local", path)
