"""Files and requests that were made to do harm, or that were damaged: refused in one line, or read right."""

import gzip
import io
import os
import struct
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from benchmarks.fuzzing import TARGETS, oracle
from benchmarks.fuzzing import archives as made
from benchmarks.fuzzing.faults import POSTSCRIPT, png
from benchmarks.fuzzing.files import saved
from benchmarks.fuzzing.oracle import alarm, fuzz
from benchmarks.fuzzing.served import port
from data import archives, download, matlab, names, pickles, pictures, sealed, table
from data.errors import BadInput
from data.spec import Remote
from pipelines import prediction, servable, serving
from pipelines.tracking import serving as scoring

PATIENCE = 100.0
"""Seconds: a slow machine is no hang."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_spoiled_files_are_refused_or_read_right(name, tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "SECONDS", PATIENCE)
    outcomes, faults = fuzz(TARGETS[name], tmp_path, 25, 1)
    assert not faults, faults[0]
    assert outcomes["refused"] + outcomes["accepted"] >= 25


def refused(read, *arguments):
    """The one line that something is refused with, within seconds."""
    with alarm(PATIENCE), pytest.raises(BadInput) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def put(tmp_path):
    """Writes a file."""

    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def claiming(kind, size):
    """A tar archive's header that claims so many bytes."""
    member = tarfile.TarInfo("wanted")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("head", [b"", claiming(tarfile.XHDTYPE, 2**33), claiming(tarfile.GNUTYPE_LONGNAME, 2**33)])
def test_what_unpacks_to_too_much_is_not_unpacked(put, monkeypatch, head):
    monkeypatch.setattr(archives, "FREE", 2**16)
    path = put(gzip.compress(head + bytes(2**24)))
    assert "unpacks to more bytes" in refused(archives.members, path, {"wanted"})
    assert "unpacks to more bytes" in refused(archives.read_idx, path)


def test_matlab_file_that_unpacks_to_too_much_is_not_unpacked(put):
    assert "unpacks to more bytes" in refused(matlab.read, put(made.mat(True)), 5000)


def test_matlab_file_that_lies_is_refused_or_read(put):
    content, refusals = made.mat(False), 0
    for place in range(128, 208, 4):
        for number in (0, 1, 2**31, 2**32 - 1):
            path = put(content[:place] + struct.pack("<I", number) + content[place + 4 :])
            try:
                assert all(isinstance(array, np.ndarray) for array in matlab.read(path, 2**20).values())
            except BadInput:
                refusals += 1
    assert refusals > 20


HOSTILE = {
    "place of its memory": b"}r\xff\xff\xff\x7f.",
    "array of objects": b"}(T\x04\x00\x00\x00datacnumpy\ndtype\nT\x02\x00\x00\x00O8K\x00K\x01\x87Ru.",
    "array without its bytes": b"}(T\x04\x00\x00\x00datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    b"K\x00\x85T\x01\x00\x00\x00b\x87R(K\x01(J\xff\xff\xff\x7ftcnumpy\ndtype\nT\x02\x00\x00\x00u1K\x00K\x01\x87R\x89T\x00\x00\x00\x00tbu.",
    "a state for NumPy's own function": b"cnumpy\nndarray\n}b.",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickle_takes_neither_memory_nor_addresses(put, case):
    said = refused(pickles.read, b"\x80\x02" + HOSTILE[case], put(b""))
    assert "holds a pickle" in said
    assert "MemoryError" not in said


def test_labels_within_labels_are_not_counted(tmp_path):
    labels = b"](K\x01K\x01eq\x01" + b"0](h\x01h\x01eq\x01" * 60  # 2 ** 61 numbers, as an array
    content = made.batch().partition(b"T\x06\x00\x00\x00labels")[0] + b"T\x06\x00\x00\x00labels" + labels + b"u."
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(made._wrapped(content))
    assert "labels are no numbers" in refused(made._cifar, path)


def test_npz_with_something_else_than_arrays_is_refused(put):
    assert "something else than arrays" in refused(archives.read_npz, put(made._npz_of(b"text"), "a.npz"), 2**20)


def test_npz_that_claims_too_much_is_not_unpacked(put):
    path = put(made._npz_of(made._npy(np.zeros(2**20, np.uint8))), "a.npz")
    assert len(archives.read_npz(path, 2**23)) == 4
    assert "claims 4194" in refused(archives.read_npz, path, 2**22)


@pytest.mark.parametrize("shape", [(65536,) * 4, (2**32 - 1,), (0, 5), (3, 3)])
def test_idx_header_that_does_not_fit_its_bytes_is_refused(put, shape):
    content = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + bytes(10)
    assert "10 bytes follow" in refused(archives.read_idx, put(content))


def test_a_name_that_was_damaged_in_one_place_of_a_zip_archive_is_noticed(put):
    content = made.zipped(made.LISTS)
    place = content.rindex(b"Thai.txt")
    path = put(content[:place] + b"Thai.tyt" + content[place + 8 :], "data.zip")
    assert "differ" in refused(names.read, path)


@pytest.mark.parametrize("read", [archives.read_idx, archives.content, table.read, lambda path: matlab.read(path, 9)])
def test_a_pipe_is_not_read(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in refused(read, tmp_path / "pipe")
    assert "neither a file nor a folder" in refused(read, Path("/dev/zero"))


def test_links_that_lead_in_circles_are_not_followed(tmp_path):
    folder = tmp_path / ".kept" / "photos"
    folder.mkdir(parents=True)
    for name in ("a.png", ".b.png"):
        (folder / name).write_bytes(b"")
    for name in ("up", "again"):
        (folder / name).symlink_to(folder)
    with alarm(20):
        for pattern in ("**/*.png", "**", "*.png", "[ab].png"):
            assert prediction.gather(f"{folder}/{pattern}", "images") == [f"{folder}/a.png"]
        assert "is no pattern" in refused(prediction.gather, f"{folder}/a**.png", "images")


SHAPE = (8, 8, 3)


def unreadable(content):
    with pytest.raises(ValueError, match=r".") as caught:
        pictures.pixels(io.BytesIO(content), SHAPE, "crop")
    return str(caught.value)


def test_images_that_claim_too_much_are_not_decoded():
    assert "8193 x 8193 pixels" in unreadable(png(8193, 8193))
    assert "exceeds limit" in unreadable(png(100_000, 100_000))


@pytest.mark.parametrize("end", [0, 20])
def test_no_flipped_bit_of_a_png_file_changes_a_pixel(end):
    content = saved("png", "RGB")
    for place in range(8, len(content) - end, 7):
        spoiled = bytearray(content[: len(content) - end])
        spoiled[place] ^= 16
        try:
            found = pictures.pixels(io.BytesIO(spoiled), SHAPE, "crop")
        except ValueError:
            continue
        assert np.array_equal(found, pictures.pixels(io.BytesIO(content), SHAPE, "crop"))


def test_postscript_is_no_image(put):
    assert "no known format" in unreadable(POSTSCRIPT)
    assert pictures.look(str(put(POSTSCRIPT, "x.png"))) is None
    assert "cannot identify" in refused(archives._read_image, put(POSTSCRIPT, "y.png"), SHAPE)


def test_pixels_that_are_not_numbers_are_refused():
    file = io.BytesIO()
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(file, "tiff")
    assert "F pixels" in unreadable(file.getvalue())


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    at_work, most = [], []

    def observed(image, channels):
        at_work.append(image)
        most.append(len(at_work))
        time.sleep(0.02)
        at_work.pop()
        return image.convert("RGB")

    monkeypatch.setattr(pictures, "_plain", observed)
    for limit, expected in ((2**22, 4), (10, 1)):
        monkeypatch.setattr(pictures, "LARGE", limit)
        most.clear()
        barrier = threading.Barrier(4)

        def read(_, barrier=barrier):
            barrier.wait()
            return pictures.pixels(io.BytesIO(png(40, 40)), SHAPE, "crop")

        with ThreadPoolExecutor(4) as pool:
            assert len(list(pool.map(read, range(4)))) == 4
        assert max(most) <= expected
        assert (max(most) > 1) == (expected > 1)


@pytest.mark.parametrize("text", ["a" * 2001, "a" + "\u0301\u0327" * 50_000], ids=["long", "marks"])
def test_texts_without_measure_are_refused_before_they_are_prepared(put, text):
    rows = "".join(f"text {number},{number % 2}\n" for number in range(9))
    assert f"of {len(text)} characters" in refused(table.read, put(f"{rows}{text},1\n".encode()))
    assert f"of {len(text)} characters" in refused(table.read, put(f"{rows}text,{text}\n".encode()))
    read = servable.TextInput({"vocabulary": "a", "fold": False, "longest": 6, "classes": ("a", "b")})
    assert f"text 2 of 2: holds a text of {len(text)}" in refused(read, np.array(["a", text], dtype=object))


class Endless:
    """A publisher's answer whose body has no end, and whose length is no number that Python reads."""

    headers = {"content-length": "9" * 5000}  # noqa: RUF012

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def iter_content(self, size):
        while True:
            yield bytes(size)


def test_a_body_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_open", lambda url: Endless())
    monkeypatch.setattr(download, "LARGEST", 2**22)
    assert "more than 4,194,304 bytes" in refused(download.fetch, Remote("http://a/b"), tmp_path)
    assert (tmp_path / "b").stat().st_size <= 2**22


@pytest.mark.parametrize("way", ["value", "key", "seal", "cut", "list", "deep"])
def test_damage_of_our_own_files_is_noticed(way):
    text = sealed.dumps({"name": "a", "mean": [0.5]})
    spoiled = {
        "value": text.replace("0.5", "0.6"),
        "key": text.replace("mean", "mead"),
        "seal": text.replace("crc32", "crc33"),
        "cut": text[:-2],
        "list": "[1]",
        "deep": "[" * 100_000,
    }
    assert sealed.loads(text, ()) == {"name": "a", "mean": [0.5]}
    assert sealed.loads('{"name": "a"}', ("name",)) == {"name": "a"}
    with pytest.raises(ValueError, match=r"."):
        sealed.loads(spoiled[way], ("name",))


def asked(kind, document):
    answer = requests.post(f"http://127.0.0.1:{port(kind)}/invocations", json=document, timeout=60)
    return answer.status_code, answer.json().get("message")


def test_requests_that_would_take_too_much_are_refused(monkeypatch):
    monkeypatch.setattr(serving, "COUNT", 3)
    monkeypatch.setattr(serving, "PIXELS", 2_000)
    monkeypatch.setattr(scoring, "CHARACTERS", 5_000)
    picture = servable.base64.b64encode(png(40, 40)).decode()
    assert asked("images", {"inputs": [picture]})[0] == 200
    assert asked("images", {"inputs": [picture] * 2}) == (400, "images: claim 3,200 pixels; send 2,000 at most at once")
    assert asked("text", {"inputs": ["a"] * 3})[0] == 200
    assert asked("text", {"inputs": ["a"] * 4}) == (400, "inputs: holds 4 inputs; send 3 at most at once")
    wide = (413, "one text of 1,000 characters makes 6 texts too large; send it by itself")
    assert asked("text", {"inputs": ["a"] * 5 + ["a" * 1000]}) == wide
