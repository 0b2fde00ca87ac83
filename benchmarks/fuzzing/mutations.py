"""How valid files are spoiled: Hypothesis' strategies over their bytes, and over documents of JSON."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import strategies as st

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""Values for which fields of headers are not made."""

Draw = Callable[[st.SearchStrategy], object]


def _place(draw: Draw, content: bytearray) -> int:
    """Often near one of the ends, where headers are."""
    last = max(0, len(content) - 1)
    places = (st.integers(0, min(511, last)), st.integers(0, last), st.integers(max(0, last - 127), last))
    return draw(draw(st.sampled_from(places)))


def _flip(draw: Draw, content: bytearray) -> bytearray:
    if content:
        content[_place(draw, content)] ^= 1 << draw(st.integers(0, 7))
    return content


def _number(draw: Draw, content: bytearray) -> bytearray:
    """A field of a header becomes an extreme number."""
    size, order = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(("little", "big")))
    value = draw(st.sampled_from(EXTREMES)) % 2 ** (8 * size)
    place = _place(draw, content)
    content[place : place + size] = value.to_bytes(size, order)
    return content


def _digits(draw: Draw, content: bytearray) -> bytearray:
    """A number in letters becomes another one: sizes in tar archives, shapes in .npy files."""
    found = [match.span() for match in re.finditer(rb"\d+", content[:4096])]
    if found:
        start, end = draw(st.sampled_from(found))
        choices = (b"7" * (end - start), b"9" * (end - start), b"-1", b"", b"1e9", b"0" * (end - start))
        content[start:end] = draw(st.sampled_from(choices))
    return content


def _truncate(draw: Draw, content: bytearray) -> bytearray:
    return content[: _place(draw, content)]


def _chunk(draw: Draw, content: bytearray) -> tuple[int, int]:
    start = _place(draw, content)
    return start, start + draw(st.integers(1, 600))


def _remove(draw: Draw, content: bytearray) -> bytearray:
    start, end = _chunk(draw, content)
    return content[:start] + content[end:]


def _repeat(draw: Draw, content: bytearray) -> bytearray:
    start, end = _chunk(draw, content)
    return content[:end] + content[start:end] * draw(st.integers(1, 20)) + content[end:]


def _move(draw: Draw, content: bytearray) -> bytearray:
    start, end = _chunk(draw, content)
    place = _place(draw, content)
    rest = content[:start] + content[end:]
    return rest[:place] + content[start:end] + rest[place:]


def _insert(draw: Draw, content: bytearray) -> bytearray:
    place = _place(draw, content)
    return content[:place] + draw(st.binary(max_size=64)) + content[place:]


def _clear(draw: Draw, content: bytearray) -> bytearray:
    start, end = _chunk(draw, content)
    content[start:end] = bytes(len(content[start:end]))
    return content


WAYS = (_flip, _number, _digits, _truncate, _remove, _repeat, _move, _insert, _clear)


@st.composite
def spoiled(draw: Draw, content: bytes) -> bytes:
    """A file in which one to four things were changed."""
    for _ in range(draw(st.integers(1, 4))):
        content = draw(st.sampled_from(WAYS))(draw, bytearray(content))
    return bytes(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(EXTREMES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
"""Anything that JSON can hold."""


@st.composite
def reshaped(draw: Draw, document: object) -> object:
    """A document of JSON in which one thing, at whatever depth, was replaced, left out or added."""
    if isinstance(document, dict) and document and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(document)))
        way = draw(st.integers(0, 5))
        if not way:
            return {other: value for other, value in document.items() if other != key}
        if way == 1:
            return document | {draw(st.text(max_size=8)): draw(VALUES)}
        return document | {key: draw(reshaped(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(document) - 1))
        return [*document[:place], draw(reshaped(document[place])), *document[place + 1 :]]
    return draw(VALUES)
