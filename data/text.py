"""Datasets of texts with a class each, and how texts become numbers."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from data import parts
from data.dataset import Dataset
from data.errors import BadInput
from data.spec import FIRST, PADDING, UNKNOWN, Arrays, DataConfig, Spec, Split, Splits

FEWEST = 5
"""Examples that a class must have: one for the test, and some for validation and training."""

LONGEST = 2_000
"""Characters of a text. All texts together take four bytes for each character of the longest; and to bring 30,000 marks
on one letter into order takes seconds, ten times as many a hundred times as long."""

# Letters whose mark is part of them in Unicode, so that no decomposition takes it off; and apostrophes.
LETTERS = str.maketrans("øØłŁđĐðÐħĦıŋŊəƏɔƆɛƐŧŦ’‘ʻʼ", "oOlLdDdDhHinNaAoOeEtT''''") | str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "Th"}
)


def normalize(text: str) -> str:
    """Composed characters (NFC), no white space around, and one space where there is some inside."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold(text: str) -> str:
    """The text with its letters' marks taken off: á to a, ł to l, ß to ss."""
    decomposed = unicodedata.normalize("NFD", text)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return unicodedata.normalize("NFC", bare.translate(LETTERS))


def decode(content: bytes, path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        BadInput: it is in another encoding, or holds control characters.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadInput("is not UTF-8", f"{path}, line {line}", "convert it, by iconv say") from None
    control = re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text)
    if control:
        line = text[: control.start()].count("\n") + 1
        raise BadInput(f"holds the control character {ord(control[0])}", f"{path}, line {line}", "remove it")
    return text


def check(text: str, where: str) -> None:
    """Refuse what is longer than any text, or holds what fills texts up.

    Raises:
        BadInput: it is, or does.
    """
    if "\0" in text:
        raise BadInput("holds NUL", where, "leave it out")
    if len(text) > LONGEST:
        raise BadInput(f"holds a text of {len(text)} characters", where, f"give {LONGEST} at most")


def prepare(text: str, folded: bool) -> str:
    """A text as it is looked up."""
    return normalize(fold(text)) if folded else normalize(text)


def encode(texts: Sequence[str], spec: Spec, multiple: int = 1) -> np.ndarray:
    """The ids of the texts' characters, int32 (N, L), padded with 0 at the end.

    L is the length of the longest of them, but no more than that of the longest training text: what is longer is cut.

    Args:
        texts: raw.
        spec: says what the characters' ids are.
        multiple: L is rounded up to a multiple of it, where few different shapes are wanted.
    """
    prepared = [prepare(text, spec.fold) for text in texts]
    longest = max(1, min(max(map(len, prepared), default=0), spec.longest))
    length = -(-longest // multiple) * multiple
    prepared = [text[:longest] for text in prepared]
    # NumPy keeps text as code points of 32 bits, with zeros after its end.
    points = np.array(prepared, f"<U{length}").view(np.uint32).reshape(len(prepared), length)
    known = np.array([ord(character) for character in spec.vocabulary], np.uint32)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, points, sorter=order), len(known) - 1)
    ids = np.where(known[order[place]] == points, order[place] + FIRST, UNKNOWN)
    return np.where(points == 0, PADDING, ids).astype(np.int32)


def lengths(texts: Sequence[str], spec: Spec) -> np.ndarray:
    """The number of ids of each text without padding, (N,)."""
    return np.array([min(len(prepare(text, spec.fold)), spec.longest) for text in texts], np.int64)


def vocabulary(texts: Iterable[str], folded: bool) -> tuple[str, ...]:
    """The characters that occur in the texts, in the order of their code points."""
    return tuple(sorted(set().union(*(prepare(text, folded) for text in texts))))


def ceiling(texts: Sequence[str], labels: Sequence[object]) -> float:
    """The highest accuracy that anything can reach that sees the texts alone.

    Where a text stands under several classes, the most frequent of them is the best answer.
    """
    most = Counter()
    for (text, _), count in Counter(zip(texts, labels, strict=True)).items():
        most[text] = max(most[text], count)
    return most.total() / len(texts)


def plain(text: str) -> str:
    """What texts must share to be kept together: all but case and marks."""
    return fold(text).casefold()


@dataclass(frozen=True)
class TextDataset(Dataset):
    """Texts with a class each, without an official test set.

    ``read`` and ``draw`` give pairs of text and class as they stand, empty ones included.
    """

    kind: ClassVar[str] = "text"
    choices: ClassVar[frozenset[str]] = frozenset({"split", "fold"})
    described: ClassVar[frozenset[str]] = frozenset({"classes", "counts", "facts"})
    peculiarity: ClassVar[str] = "a dataset of texts"

    group: Callable[[str], str] = plain
    """Texts of the same group are never divided between training, validation and test."""

    def arrange(self, raw: Iterable[tuple[str, str]], origin: str, aside: Path) -> tuple[Arrays, dict]:
        """Distinct pairs of text and class in the order of their first occurrence, and how many there were."""
        lines = [(normalize(text), label) for text, label in raw]
        full = [line for line in lines if line[0]]
        pairs = list(dict.fromkeys(full))
        classes = sorted({label for _, label in pairs})
        if len(classes) < 2:
            raise BadInput(f"has {len(classes)} class with texts", origin, "a classifier needs two or more")
        for label, count in Counter(label for _, label in pairs).items():
            if count < FEWEST:
                what = f"class {label} has {count} different texts"
                raise BadInput(what, origin, f"give {FEWEST} or more of each class, or leave it out")
        number = {label: index for index, label in enumerate(classes)}
        texts = [text for text, _ in pairs]
        labels = np.array([number[label] for _, label in pairs], np.int32)
        facts = {
            "lines": len(lines),
            "empty lines": len(lines) - len(full),
            "repeated lines": len(full) - len(pairs),
            "different texts": len(set(texts)),
            "texts of several classes": sum(count > 1 for count in Counter(texts).values()),
            "highest possible accuracy": ceiling(texts, labels.tolist()),
            "different characters": len(set("".join(texts))),
            "longest text": max(map(len, texts)),
        }
        counts = {"all": np.bincount(labels).tolist()}
        return {"x": np.array(texts), "y": labels}, {"classes": classes, "counts": counts, "facts": facts}

    def splits(self, arrays: Arrays, manifest: dict, config: DataConfig) -> Splits:
        """A test set by ``config.split``, and a validation part of the rest; no group stands in two of them."""
        texts, labels = np.asarray(arrays["x"]), np.asarray(arrays["y"])
        groups = np.array([self.group(text) for text in texts.tolist()])
        rest, test = parts.by_groups(labels, groups, parts.TEST, config.split, self.name)
        train, val = parts.cut(labels[rest], config, groups[rest])
        used = parts.used(manifest, config, {"train": rest, "test": test}, texts, labels)
        train, val = rest[train], rest[val]
        characters = vocabulary(texts[train].tolist(), config.fold)
        longest = max(len(prepare(text, config.fold)) for text in texts[train].tolist())
        classes = tuple(manifest["classes"])
        spec = Spec(self.kind, classes, vocabulary=characters, fold=config.fold, longest=longest)
        return Splits(spec, *(Split(texts[rows], labels[rows]) for rows in (train, val, test)), used)
