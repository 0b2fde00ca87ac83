"""Targets: texts and images of the user's own, and the files that we keep ourselves."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

import data
from benchmarks.fuzzing.archives import pixels
from benchmarks.fuzzing.mutations import VALUES, reshaped
from benchmarks.fuzzing.oracle import Seed, Target, as_bytes
from data import archives, pictures, store, table
from data.errors import BadInput
from pipelines import prediction, servable, settings
from pipelines.fitting import checkpoints
from pipelines.recipes import RECIPES
from pipelines.tracking import journal, lines

SHAPE = (8, 8, 3)

CSV = 'text,label\n"a, ""b""",x\nÜmläut,y\n\nc,x\n'.encode()

HOSTILE_CSV = st.lists(
    st.sampled_from(
        (b",", b"\n", b'"', b"\r", b"a", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b";", b"\t", b"," * 5000)
    )
    | st.sampled_from(("a" * 3000, "a" + "\u0301\u0327" * 500, "\u2028", "\u202e", "\U0001f600")).map(str.encode),
    max_size=40,
).map(b"".join)


def _are_texts(pairs: list) -> bool:
    return all(len(text) <= 3 * 2000 and "\n" not in text for pair in pairs for text in pair)


def saved(form: str, mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    size = 20 * 18
    made = pixels(size, 4).reshape(20, 18, 4)
    Image.fromarray(made, "RGBA").convert(mode).save(file, form, **options)
    return file.getvalue()


def with_checksums(content: bytes) -> bytes:
    """A PNG file whose chunks have right checksums, whatever is in them."""
    made, rest = content[:8], content[8:]
    while len(rest) >= 12:
        size = min(int.from_bytes(rest[:4], "big"), len(rest) - 12)
        body = rest[4 : 8 + size]
        made += struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
        rest = rest[12 + size :]
    return made + rest


def _images() -> list[Seed]:
    plain = [
        saved(*form)
        for form in (
            ("png", "RGBA"),
            ("png", "P"),
            ("jpeg", "RGB"),
            ("jpeg", "CMYK"),
            ("gif", "P"),
            ("bmp", "RGB"),
            ("webp", "RGBA"),
            ("tiff", "RGB"),
            ("tiff", "L"),
        )
    ]
    packed = [saved("tiff", "RGB", compression=way) for way in ("tiff_lzw", "tiff_deflate", "jpeg")]
    return [*map(Seed, plain + packed), Seed(plain[0], with_checksums), Seed(saved("jpeg", "RGB", progressive=True))]


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%touch /tmp/run) (w) file\nshowpage\n"
)

HOSTILE_IMAGES = st.sampled_from(
    (POSTSCRIPT, b"", b"\0" * 99, b"P6 99999 99999 255\n", b"<svg/>", b"GIF89a\xff\xff\xff\xff")
)


def _pixels(path: Path) -> np.ndarray:
    pictures.look(str(path))
    try:
        return pictures.pixels(path, SHAPE, "crop")
    except ValueError as error:  # which its callers turn into a line that names the file
        raise BadInput(str(error), path) from None


def _asked(path: Path) -> np.ndarray:
    """What a served model's reader makes of base64."""
    read = servable.ImageInput({"shape": SHAPE})
    read.trusting = False
    return read(np.array([path.read_text("latin-1")], dtype=object))[0]


def _is_image(found: np.ndarray) -> bool:
    return found.shape == SHAPE and found.dtype == np.uint8


STATE = checkpoints.State(
    checkpoints.Position(0, 1, 7, epochs=[checkpoints.Epoch({"loss": 0.5}, 9.0)]), {"w": np.arange(6.0)}, {}
)


@cache
def _checkpoint(step: int) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        checkpoints.Checkpoints(Path(folder)).write(replace(STATE, position=replace(STATE.position, step=step)))
        return next(Path(folder).glob("*.npz")).read_bytes()


def _latest(path: Path) -> checkpoints.State:
    """The newest state that can be read: the older file beside the spoiled one is whole."""
    (path.parent / f"{6:012}.npz").write_bytes(_checkpoint(6))
    return checkpoints.Checkpoints(path.parent).latest()


def _is_state(found: checkpoints.State) -> bool:
    """One of the two that were written, unharmed."""
    wanted = replace(STATE, position=replace(STATE.position, step=found.position.step))
    return (
        found.position.step in (6, 7)
        and as_bytes(found.arrays["w"]) == as_bytes(wanted.arrays["w"])
        and found.position == wanted.position
    )


RECORDS = [
    {"kind": "metrics", "at": 1.5, "values": {"train/loss": 0.25}, "step": 3},
    {"kind": "status", "at": 2, "status": "KILLED"},
]


def _journal() -> list[Seed]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for record in RECORDS:
            lines.append(Path(folder) / journal.RECORDS, record)
        return [Seed((Path(folder) / journal.RECORDS).read_bytes())]


def _header() -> list[Seed]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        journal.create(Path(folder), {"id": "0" * 32, "name": "a", "started": 1.5, "params": {}})
        return [Seed((Path(folder) / journal.HEADER).read_bytes(), exact=True)]


@cache
def _digits() -> data.find:
    return data.find("digits")


def _cached() -> tuple[dict, Path]:
    manifest = store.read_manifest(_digits(), "embedded") or store.ingest(_digits(), "embedded")
    return manifest, store.folder(_digits(), "embedded")


def _manifest(path: Path) -> dict | None:
    place = store.folder(_digits(), "embedded")
    kept = (place / "manifest.json").read_bytes()
    try:
        (place / "manifest.json").write_bytes(path.read_bytes())
        return store.read_manifest(_digits(), "embedded")
    finally:
        (place / "manifest.json").write_bytes(kept)


def _array(path: Path) -> np.ndarray:
    manifest, place = _cached()
    cached = place / manifest["version"] / "y_test.npy"
    kept = cached.read_bytes()
    try:
        cached.write_bytes(path.read_bytes())
        return np.array(store.open_arrays(_digits(), "embedded", manifest)["y_test"])
    finally:
        cached.write_bytes(kept)


def _recipe(path: Path) -> dict:
    try:
        document = json.loads(path.read_text("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise BadInput(str(error), path) from None  # as pipelines.tracking.recorded does
    return settings.to_dict(settings.from_dict(document))


@cache
def _plain(name: str) -> dict:
    return json.loads(json.dumps(settings.to_dict(RECIPES[name]())))


RECIPES_RESHAPED = st.sampled_from(("digits-mlp", "cifar", "names")).flatmap(lambda name: reshaped(_plain(name)))


def _manifests() -> list[Seed]:
    _cached()
    return [Seed((store.folder(_digits(), "embedded") / "manifest.json").read_bytes(), exact=True)]


def _arrays() -> list[Seed]:
    manifest, place = _cached()
    return [Seed((place / manifest["version"] / "y_test.npy").read_bytes(), exact=True)]


TARGETS = (
    Target(
        "csv", "texts.csv", table.read, lambda: [Seed(CSV), Seed(CSV.replace(b",", b"\t"))], _are_texts, HOSTILE_CSV
    ),
    Target(
        "PNG of a published image",
        "image.png",
        lambda path: archives._read_image(path, (20, 18, 3)),
        lambda: [Seed(saved("png", "RGB"), exact=True)],
        lambda found: found.dtype == np.uint8 and found.ndim == 3,
    ),
    Target("images", "image.png", _pixels, _images, _is_image, HOSTILE_IMAGES),
    Target(
        "base64",
        "request",
        _asked,
        lambda: (
            [
                Seed(seed.content, lambda content, seed=seed: base64.b64encode(seed.finish(content)))
                for seed in _images()
            ]
            + [Seed(base64.b64encode(saved("png", "L")))]
        ),
        _is_image,
        HOSTILE_IMAGES.map(base64.b64encode),
    ),
    Target(
        "lists of inputs",
        "inputs.txt",
        lambda path: prediction.gather(str(path), "text"),
        lambda: [Seed("Ósk\nLi\n".encode())],
        lambda found: all(map(str.strip, found)),
        HOSTILE_CSV,
    ),
    Target("manifest.json", "manifest.json", _manifest, _manifests, lambda found: isinstance(found, dict)),
    Target("cached arrays", "y_test.npy", _array, _arrays, lambda found: found.shape == (364,)),
    Target(
        "journal.jsonl", journal.RECORDS, lines.read, _journal, lambda found: all(record in RECORDS for record in found)
    ),
    Target(
        "run.json",
        journal.HEADER,
        lambda path: journal.read_header(path.parent),
        _header,
        lambda found: isinstance(found, dict),
    ),
    Target("checkpoints", f"{7:012}.npz", _latest, lambda: [Seed(_checkpoint(7))], _is_state),
    Target(
        "recipe.json",
        "recipe.json",
        _recipe,
        lambda: [Seed(json.dumps(_plain("digits-mlp")).encode())],
        lambda found: isinstance(found, dict),
        (RECIPES_RESHAPED | VALUES).map(lambda value: json.dumps(value).encode()),
    ),
)
