"""JSON objects that show whether they were damaged: their first key is a checksum of the rest."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

SEAL = "crc32"


def dumps(content: Mapping[str, object], indent: int | None = None) -> str:
    """An object as text in ASCII: the name of a file may hold what no UTF-8 does."""
    return json.dumps({SEAL: _checksum(content), **content}, indent=indent)


def loads(text: str | bytes, unsealed: tuple[str, ...]) -> dict:
    """The object that :func:`dumps` wrote.

    Args:
        text: what was written.
        unsealed: first keys of those that were written before there was a seal.

    Raises:
        ValueError: it was damaged since.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    first = next(iter(content), "") if isinstance(content, dict) else ""
    if first != SEAL and first not in unsealed:
        raise ValueError("no object, or one without its checksum")
    if first == SEAL and content.pop(SEAL) != _checksum(content):
        raise ValueError("differs from its checksum")
    return content


def unsealed(path: Path) -> dict:
    """The object of a JSON file that has no checksum; an empty one where it can't be read, or holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _checksum(content: Mapping[str, object]) -> int:
    return zlib.crc32(json.dumps(content).encode())
