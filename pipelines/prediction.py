"""The inputs that a user names, what a model answers, and the answers as a table."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data import archives
from data.errors import BadInput, reason
from data.tree import ENDINGS

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.servable import Servable

AT_ONCE = 256
"""Images that are decoded and answered for together; bounds the memory."""

TABLES = (".csv", ".parquet", ".json")
"""Endings of files of answers."""

RECONSTRUCTED = "-reconstructed"
"""Ends the name of an image that an autoencoder has given back."""


@dataclass(frozen=True)
class Answers:
    """What a model says of some inputs."""

    inputs: list[str]
    outputs: Sequence[np.ndarray]
    """One for each input."""
    faults: list[str]
    """Why further inputs were left out, a line each."""


def gather(given: str, kind: str) -> list[str]:
    """The inputs that a user means.

    Args:
        given: a path; or several, or texts, with commas between.
        kind: what the model takes, ``images`` or ``text``.

    Raises:
        BadInput: a file can't be read, a folder holds no image, a pattern matches nothing.
    """
    known = GATHERED[kind](given)
    parts = [part.strip() for part in given.split(",")] if known is None else [given]
    found = []
    for part in filter(None, parts):
        inputs = GATHERED[kind](part)
        found += [part] if inputs is None else inputs
    return found


def _texts(given: str) -> list[str] | None:
    """The lines of a file; None where there is none of this name."""
    return _lines(Path(given)) if _is(Path.is_file, given) else None


def _images(given: str) -> list[str] | None:
    """The image files that a path, a folder, a pattern or a list stands for; None where it is none of these."""
    if _is(Path.is_file, given):
        return _lines(Path(given)) if given.endswith(".txt") else [given]
    if _is(Path.is_dir, given):
        files = (path for path in sorted(Path(given).rglob("*")) if path.suffix.lower() in ENDINGS and path.is_file())
        found = [str(path) for path in files if not path.stem.endswith(RECONSTRUCTED)]
    elif "," not in given and glob.has_magic(given):
        found = _matching(given)
    else:
        return None
    if not found:
        raise BadInput("there is no image", given, "give another folder or pattern")
    return found


def _matching(pattern: str) -> list[str]:
    """The files that a pattern names, but for hidden ones and those beyond links, which may lead in circles."""
    start, named = Path(pattern).anchor, Path(pattern).parts
    rest = str(Path(pattern + "/*" if pattern.endswith("**") else pattern).relative_to(start))
    try:
        paths = sorted(path for path in Path(start).glob(rest) if path.is_file())
    except ValueError as error:
        raise BadInput(f"is no pattern ({reason(error)})", pattern, "write ** for all folders below") from None
    return [str(path) for path in paths if not any(part[0] == "." and part not in named for part in path.parts)]


GATHERED = {"images": _images, "text": _texts}


def _is(kind: object, given: str) -> bool:
    """Whether there is a file or a folder of this name; a long text, base64 for one, is none."""
    try:
        return kind(Path(given))
    except (OSError, ValueError):
        return False


def _lines(path: Path) -> list[str]:
    content = archives.content(path)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except ValueError as error:
        raise BadInput(f"can't be read ({reason(error)})", path, "give a UTF-8 file, one input a line") from None
    return [line.strip() for line in lines if line.strip()]


def ask(model: Servable, inputs: Sequence[str]) -> Iterator[Answers]:
    """What a model answers, some inputs at a time; those that can't be read are left out.

    Args:
        model: any.
        inputs: paths or base64 of images, or texts.
    """
    for start in range(0, len(inputs), AT_ONCE):
        some = inputs[start : start + AT_ONCE]
        kept, values, faults = [*some], some, []
        if model.kind == "images":
            kept, values, faults = _decoded(model, some)
        yield Answers(kept, model.predict(values) if kept else [], faults)


def _decoded(model: Servable, paths: Sequence[str]) -> tuple[list[str], np.ndarray, list[str]]:
    """Those that are images, their pixels, and what is wrong with the others."""
    kept, images, faults = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow remarks on much that it then reads
        for path in paths:
            try:
                images.append(model.read(np.array([path], dtype=object))[0])
                kept.append(path)
            except BadInput as error:
                faults.append(str(error).replace(path[:60], path[:4096], 1))  # it names a path's beginning only
    return kept, np.array(images), faults


def check_place(place: Path) -> None:
    """Refuse a file of answers that can't be written, before any work is done.

    Raises:
        BadInput: it has another ending, or there is no such folder.
    """
    if place.suffix not in TABLES:
        raise BadInput("is no kind of table", f"--out {place}", f"let it end in {', '.join(TABLES)}")
    if place.is_dir() or not place.parent.is_dir():
        what = "is a folder" if place.is_dir() else "its folder is not there"
        raise BadInput(what, f"--out {place}", "name another file")


def table(inputs: Sequence[str], probabilities: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """A row for each input: the class, its probability, and ``p_CLASS`` for each class.

    Args:
        inputs: as the user gave them.
        probabilities: (N, classes).
        classes: names.
    """
    import pandas as pd

    best = probabilities.argmax(axis=1)
    found = {"input": inputs, "predicted": np.array(classes, dtype=object)[best], "probability": probabilities.max(1)}
    return pd.DataFrame(found | {f"p_{name}": probabilities[:, number] for number, name in enumerate(classes)})


def write(place: Path, found: pd.DataFrame, classes: Sequence[str]) -> None:
    """Write a table of answers; as JSON a list of records, the probabilities in an object by class.

    Raises:
        BadInput: it can't be written.
    """
    try:
        if place.suffix == ".csv":
            found.to_csv(place, index=False)
        elif place.suffix == ".parquet":
            found.to_parquet(place, index=False)
        else:
            place.write_text(_as_json(found, classes), encoding="utf-8")
    except (OSError, ValueError) as error:  # a path may hold what no UTF-8 does
        raise BadInput(f"can't be written ({reason(error)})", f"--out {place}", "name another file") from None


def _as_json(found: pd.DataFrame, classes: Sequence[str]) -> str:
    import json

    records = found[["input", "predicted", "probability"]].to_dict("records")
    rows = found[[f"p_{name}" for name in classes]].to_numpy().tolist()
    for record, row in zip(records, rows, strict=True):
        record["probabilities"] = dict(zip(classes, row, strict=True))
    return json.dumps(records, indent=1, ensure_ascii=False) + "\n"
