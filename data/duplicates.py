"""Images that stand twice: equal byte for byte, or the same picture moved, recompressed, recoloured or mirrored.

Each image becomes a grey one of 32x32 pixels and a perceptual hash of 64 bits (pHash, by imagehash). All pairs whose
hashes differ in few bits are candidates; most of them are chance, any two aeroplanes in the sky say. So the edges of
the two are laid over each other, and those that fit are near-duplicates. By chance as many mirrored pairs are alike as
others: how few mirrored ones the limits below let through on CIFAR-10, half of them real, tells how rarely they err.
Pictures that are scaled or turned by much are missed.

All pairs of hashes are compared, 18 times because of shifts and mirror images, 1.3e9 in a second of one core: 10,000
and 50,000 images take 9 s (and all else 35 s), 200,000 and 800,000 would take 40 minutes.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from data.parallel import working
from data.spec import Chain, Source, batches

if TYPE_CHECKING:
    import pandas as pd

SIDE = 32
"""Of the grey images, in pixels; pHash looks at as many."""

REACH = 14
"""Bits in which the hashes of a candidate differ at most. Of CIFAR-10's pairs that fit (none shifted or mirrored), 424
differ in up to 10 bits, 110 more in up to 12, 85 more in up to 14; two bits more make five times as many candidates."""

FIT = 0.55
"""Least similarity of near-duplicates. Of CIFAR-10's candidates it leaves 619 pairs, and 51 mirrored ones; 0.5 leaves
725 and 68, and with them pictures of like aeroplanes and ships; 0.6 leaves 520 and 37."""

MOVED = 3
"""Pixels of the grey image by which the second picture may be shifted."""

SHIFT, REACH_SHIFTED = 2, 10
"""One of the two is hashed shifted, too, by so many pixels each way: pHash itself does not know a picture again that is
moved by two. Those hashes differ in that many bits at most."""

CANDIDATES = 200_000
"""Pairs that are looked at closer, at most, for each shift; if there are more, hashes have to differ in fewer bits."""

PAIRS, FEWEST, CHANCE = 2_000, 100, 0.25
"""Of so many random pairs of images, if there are so many images, nine tenths have to be less similar than that. Those
of CIFAR-10 are below 0.15, of MNIST 0.35, of the digits 0.58: written alike, but by different hands."""

BLOCK = 8, 4_096
"""Hashes that are compared with each other at once, so that what is in between stays in a processor's cache."""

STEP = 256
"""Pairs that are looked at at once."""

MANY = 10_000
"""Steps from which on a bar shows how far the work is."""

COLUMNS = ("part", "row", "other_part", "other_row", "kind", "bits", "similarity")
"""Of what is found. ``kind`` is equal, near or mirrored."""


@dataclass(frozen=True)
class Looks:
    """What the images of one part look like."""

    grey: np.ndarray
    """(N, SIDE, SIDE), uint8."""
    prints: np.ndarray
    """(N,), by which equal images are told."""

    def __len__(self) -> int:
        return len(self.grey)


@dataclass(frozen=True)
class Found:
    """Pairs of images, and how they were sought."""

    pairs: pd.DataFrame
    """COLUMNS, the most similar first: each image that is equal to one of the other part, with the first such; and all
    pairs of different images that are nearly the same. Within one part the other one comes before."""
    compared: tuple[tuple[str, str, int], ...]
    """Two parts, and the number of images of the first."""
    chance: float = 0.0
    """So similar are nine tenths of random pairs at most; where CHANCE is exceeded, equal images alone were sought."""
    strict: int = 0
    """In so many bits fewer hashes had to differ because there were too many candidates."""

    @property
    def told(self) -> bool:
        """Whether near-duplicates can be told from images that just are alike."""
        return self.chance <= CHANCE


def find(parts: dict[str, Source]) -> Found:
    """Images that stand in two parts, each with the parts before it; or twice in the one part that there is."""
    looks = {name: _looks(source, name) for name, source in parts.items() if len(source)}
    couples = [(second, first) for first, second in combinations(looks, 2)] or [tuple(looks) * 2]
    chance = _chance([*looks.values()])
    found = Found(None, tuple((part, other, len(looks[part])) for part, other in couples), chance)
    rows = []
    for part, other in couples:
        pairs = _equal(looks[part], looks[other], part == other)
        if found.told:
            near, strict = _near(looks[part], looks[other], part == other)
            pairs, found = pairs + near, replace(found, strict=max(strict, found.strict))
        rows += [(part, row, other, *rest) for row, *rest in pairs]
    return replace(found, pairs=_sorted(rows))


def _sorted(rows: list[tuple]) -> pd.DataFrame:
    """The most similar first; a pair that is alike mirrored, too, once."""
    import pandas as pd

    found = pd.DataFrame(rows, columns=COLUMNS)
    found["order"] = found["kind"].ne("equal")
    found = found.sort_values(["order", "similarity"], ascending=[True, False], kind="stable", ignore_index=True)
    return found.drop_duplicates(["part", "row", "other_part", "other_row"], ignore_index=True)[list(COLUMNS)]


def _looks(source: Source, name: str) -> Looks:
    from PIL import Image

    def look(pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
        plain = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("L")
        return np.asarray(plain.resize((SIDE, SIDE), Image.Resampling.LANCZOS)), hashlib.sha256(pixels).digest()

    grey, prints, done = np.empty((len(source), SIDE, SIDE), np.uint8), np.empty(len(source), "S32"), 0
    with _working(f"looking at {name}", len(source)) as work:
        for batch in batches(source):
            for found in work(look, np.ascontiguousarray(batch)):
                grey[done], prints[done] = found
                done += 1
    return Looks(grey, prints)


def _hashes(grey: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
    """Perceptual hashes (N,), uint64, of grey images (N, SIDE, SIDE) that are shifted so far."""
    from imagehash import phash
    from PIL import Image

    def bits(image: np.ndarray) -> np.ndarray:
        return np.packbits(phash(Image.fromarray(image)).hash)

    around = ((0, 0), (max(0, down), max(0, -down)), (max(0, right), max(0, -right)))
    moved = np.pad(grey, around, mode="edge")[:, max(0, -down) :, max(0, -right) :][:, :SIDE, :SIDE]
    with _working("hashing", len(grey)) as work:
        return np.array([*work(bits, moved)], np.uint8).reshape(-1, 8).view(np.uint64)[:, 0]


def _equal(part: Looks, other: Looks, same: bool) -> list[tuple]:
    """Each row whose image stands in the other part, with the first row where it does; within one part, an earlier."""
    known, first = np.unique(other.prints, return_index=True)
    place = np.minimum(np.searchsorted(known, part.prints), len(known) - 1)
    rows = np.flatnonzero(known[place] == part.prints)
    rows = rows[first[place[rows]] < rows] if same else rows
    return [(int(row), int(first[place[row]]), "equal", 0, 1.0) for row in rows]


def _near(part: Looks, other: Looks, same: bool) -> tuple[list[tuple], int]:
    """Pairs of different images that are nearly the same, of equal ones the first only; and how strict that was."""
    # Of 10,000 equal images the pairs alone would fill the memory.
    ours, theirs = (np.sort(np.unique(looks.prints, return_index=True)[1]) for looks in (part, other))
    plain, known = part.grey[ours], _hashes(other.grey[theirs])
    found, strict = [], 0
    for kind, grey in (("near", plain), ("mirrored", plain[:, :, ::-1])):
        candidates = []
        for down, right in product((0, -SHIFT, SHIFT), repeat=2):
            reach = max(0, (REACH_SHIFTED if down or right else REACH) - strict)
            pairs, used = _candidates(_hashes(grey, down, right), known, reach, same)
            candidates, strict = [*candidates, pairs], strict + reach - used
        rows, others, bits = _once(np.concatenate(candidates, axis=1))
        differ = part.prints[ours[rows]] != other.prints[theirs[others]]
        rows, others, bits = rows[differ], others[differ], bits[differ]
        alike = _alike(grey, other.grey[theirs], rows, others)
        for number in np.flatnonzero(alike >= FIT):
            place = int(ours[rows[number]]), int(theirs[others[number]])
            found.append((*place, kind, int(bits[number]), round(float(alike[number]), 3)))
    return found, strict


def _once(candidates: np.ndarray) -> np.ndarray:
    """Each pair of candidates (3, N) once, with the fewest bits."""
    ordered = candidates[:, np.lexsort(candidates[::-1])]
    return ordered[:, np.any(np.diff(ordered[:2], axis=1, prepend=-1), axis=0)]


def _alike(grey: np.ndarray, others: np.ndarray, rows: np.ndarray, other_rows: np.ndarray) -> np.ndarray:
    """The similarity of pairs of images, (N,)."""

    def look(start: int) -> np.ndarray:
        here = slice(start, start + STEP)
        return similarity(grey[rows[here]], others[other_rows[here]])

    with _working("looking at pairs", len(rows), STEP) as work:
        return np.concatenate([*work(look, range(0, len(rows), STEP)), np.zeros(0)])


def _candidates(hashes: np.ndarray, others: np.ndarray, reach: int, same: bool) -> tuple[np.ndarray, int]:
    """Rows, other rows and bits (3, N) where hashes differ in ``reach`` bits at most, or fewer if those are too many.

    Within the same part only those whose other row comes before.
    """
    height, width = BLOCK

    def compare(start: int) -> np.ndarray:
        found = []
        for left in range(0, start + height if same else len(others), width):
            bits = np.bitwise_count(hashes[start : start + height, None] ^ others[left : left + width])
            places = np.flatnonzero(bits.ravel() <= reach)
            row, column = np.divmod(places, bits.shape[1])
            pairs = np.stack([row + start, column + left, bits.ravel()[places]])
            found.append(pairs[:, pairs[1] < pairs[0]] if same else pairs)
        return np.concatenate(found, axis=1)

    kept, count = [np.empty((3, 0), np.int64)], 0
    with _working("comparing hashes", len(hashes), height) as work:
        for found in work(compare, range(0, len(hashes), height)):
            kept.append(found)
            count += found.shape[1]
            while count > CANDIDATES and reach:
                reach -= 1
                kept = [pairs[:, pairs[2] <= reach] for pairs in kept]
                count = sum(pairs.shape[1] for pairs in kept)
    pairs = np.concatenate(kept, axis=1)
    return pairs[:, pairs[2] <= reach], reach


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How well the edges of grey images (N, H, W) fit, at most 1, where the second is shifted so that they fit best."""
    ours, theirs = _edges(first), _edges(second)
    best = np.full(len(ours), -1.0, np.float32)
    for down, right in product(range(-MOVED, MOVED + 1), repeat=2):
        here = ours[:, :, max(0, down) :, max(0, right) :][:, :, : SIDE - 1 - abs(down), : SIDE - 1 - abs(right)]
        there = theirs[:, :, max(0, -down) :, max(0, -right) :][:, :, : here.shape[2], : here.shape[3]]
        norms = [np.einsum("nkhw,nkhw->n", edges, edges) for edges in (here, there)]
        # What has no contrast fits nothing.
        fit = np.einsum("nkhw,nkhw->n", here, there) / np.maximum(np.sqrt(norms[0] * norms[1]), 1)
        best = np.maximum(best, fit)
    return best


def _edges(grey: np.ndarray) -> np.ndarray:
    """Differences to the left and upper neighbours. Their roots: one strong outline does not outweigh all the rest."""
    level = grey.astype(np.float32)
    corner = level[:, 1:, 1:]
    steps = np.stack([corner - level[:, 1:, :-1], corner - level[:, :-1, 1:]], axis=1)
    return np.copysign(np.sqrt(np.abs(steps)), steps)


def _chance(parts: list[Looks]) -> float:
    """The similarity below which nine tenths of random pairs of different images lie; 0 where these are too few."""
    grey = Chain(tuple(part.grey for part in parts))
    different = np.unique(np.concatenate([part.prints for part in parts]), return_index=True)[1]
    if len(different) < FEWEST:
        return 0.0
    rows = np.random.default_rng(0).choice(different, (2, PAIRS))
    rows = rows[:, rows[0] != rows[1]]
    return float(np.quantile(similarity(grey[rows[0]], grey[rows[1]]), 0.9))


def _working(doing: str, total: int, step: int = 1) -> AbstractContextManager[Callable]:
    """A map by all processors, with a bar where there is much to do and somebody sees it."""
    return working(doing, total, STEP, total >= MANY and sys.stdout.isatty(), step)
