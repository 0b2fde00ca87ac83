"""Files of records, one a line in JSON: whatever kills a process or fills the disk, each line is whole or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from data import sealed
from data.errors import BadInput, reason


def append(path: Path, record: Mapping[str, object]) -> None:
    """Write one record, to the disk itself.

    Raises:
        OSError: it can't be written; the file is as it was.
    """
    # Without a buffer: one that a full disk leaves half written would be written on when the file is closed.
    with path.open("ab", buffering=0) as file:
        end, rest = file.tell(), (sealed.dumps(record) + "\n").encode()
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError as error:  # a full disk: what was written of it must not garble the next one
            file.truncate(end)
            error.filename = file.name
            raise


def read(path: Path) -> list[dict]:
    """The whole records, whoever may be writing the next one; none where there is no file.

    Raises:
        BadInput: a line can't be read.
    """
    return _parse(path)[0]


def take_up(path: Path) -> list[dict]:
    """The same, to go on writing: a last line that was being written when its process was killed is removed."""
    records, length = _parse(path)
    if path.exists() and path.stat().st_size > length:
        os.truncate(path, length)
    return records


def _parse(path: Path) -> tuple[list[dict], int]:
    """The whole records and the bytes that they take."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    try:
        return [sealed.loads(line, ("kind", "event")) for line in lines], sum(map(len, lines))
    except ValueError as error:
        raise BadInput(f"is damaged ({reason(error)})", path, "remove the line") from None
