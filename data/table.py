"""A CSV file of texts and labels, of the user's own: ``--data.name csv --data.path FILE``.

UTF-8; fields are separated by comma, semicolon or tab and may be quoted. The columns are those called text and
label, or else the first two; a first line is a header if it has these names or a label that no other line has.
"""

import csv
import io
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path
from typing import ClassVar

from data import archives
from data.errors import BadInput, reason
from data.text import TextDataset, check, decode, normalize

LINES = 10_000_000
"""Of a file; each takes some hundred bytes of memory, however short it is."""

SAMPLE = 100
"""Records from which the separator is guessed."""


@dataclass(frozen=True)
class Table(TextDataset):
    """Texts and labels of a file."""

    choices: ClassVar[frozenset[str]] = TextDataset.choices | {"path"}


def read(path: Path) -> list[tuple[str, str]]:
    """Each record's text and label; of an empty line two empty ones."""
    text = decode(archives.content(path), path)
    if text.count("\n") > LINES:
        raise BadInput(f"has {text.count(chr(10)):,} lines", path, f"give {LINES:,} at most")
    if not text.strip():
        raise BadInput("is empty", path, "give a text and a label on each line")
    try:
        records = _records(text, _separator(text, path))
    except csv.Error as error:
        raise BadInput(f"is no CSV file ({reason(error)})", path, "check its quotes") from None
    named = [name.strip().casefold() for name in records[0][1]]
    has_names = {"text", "label"} <= set(named)
    first, second = (named.index("text"), named.index("label")) if has_names else (0, 1)
    pairs = [_pair(fields, first, second, f"{path}, line {line}") for line, fields in records]
    is_header = has_names or pairs[0][1] not in {label for _, label in pairs[1:]}
    return pairs[1:] if is_header else pairs


def _separator(text: str, path: Path) -> str:
    """What separates the fields: it gives most records as many, and the second one the fewest different values."""
    best = {}
    for separator in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        sample = []
        with suppress(csv.Error):  # which is found again when all of the file is read
            sample.extend(islice((fields for fields in reader if fields), SAMPLE))
        width, count = Counter(map(len, sample)).most_common(1)[0] if sample else (0, 0)
        if width >= 2:
            best[separator] = (len(sample) - count, len({fields[1] for fields in sample if len(fields) > 1}))
    if not best:
        raise BadInput("has no two columns", path, "give a text and a label, separated by comma, semicolon or tab")
    return min(best, key=best.get)


def _records(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Each record's last line number and its fields, from the first line on that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return list(dropwhile(lambda record: not record[1], ((reader.line_num, fields) for fields in reader)))


def _pair(fields: list[str], first: int, second: int, where: str) -> tuple[str, str]:
    found = [fields[column].strip() if column < len(fields) else "" for column in (first, second)]
    for value in found:
        check(value, where)
    text, label = map(normalize, found)
    if text and not label:
        raise BadInput("holds a text without label", where, "label it or remove it")
    return text, label


DATASETS = (Table(name="csv", read=read),)
