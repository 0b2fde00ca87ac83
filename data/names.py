"""Surnames of 18 origins, as collected for PyTorch's tutorial on character-level recurrent networks (S. Robertson).

One file ``ORIGIN.txt`` an origin, UTF-8, one name a line. Of about 20,000 lines a tenth repeat others: most Arabic
names stand there twenty times. 469 names stand under several origins, so that nothing that sees the name alone can
be right about all of them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data import archives
from data.errors import BadInput
from data.spec import Remote
from data.text import TextDataset, decode, fold

LONGEST = 100
"""Characters; a longer line is no name."""

SIZE = 64 * 2**20
"""Bytes of a list, or of all text in an archive; what lies beside the lists in the tutorial's has 10 MB."""

# What is taken off the end of a surname, bare of marks, one after the other. Three letters stay, lest short names of
# other languages fall together.
FAMILY = re.compile(r"(?<=...)(?:[oe][vw]a?)+$")
"""Novák Nováková, Sokolov Sokolova, Aliyev Aliyeva, Wójt Wójtowa, Palov Palovová."""
ENDINGS = (
    FAMILY,
    # Jónsson Jónsdóttir; Yusifoğlu Yusifqızı; Butkus Butkuvienė Butkutė, Petraitis Petraitytė
    re.compile(r"(?<=...)(?:son|dottir|oglu|qizi|uviene|iene|aite|yte|iute|ute)$"),
    # Kowalski Kowalska, Tolstoy Tolstaya, Svoboda Svobodová, Janko Janková, Balodis Balode, Ozols Ozola, Pappas Pappa
    re.compile(r"(?<=...)(?:(?:[aiouy]?s)?(?:aya|oy|iy|ii|ij|ou|[aeioy])|i?[aiouy]?s)$"),
    FAMILY,  # Makový Maková
    # Havel Havlová, Hájek Hájková, Němec Němcová: the vowel that only the shorter form has
    re.compile(r"(?<=[^aeiouy])e(?=[klc]$)"),
)


def group(name: str) -> str:
    """What the forms of one surname for men and women share; forms of other surnames sometimes do as well.

    Without knowing the language: case, marks, and all that is no letter are dropped, then the endings by which
    Slavic, Baltic, Greek and Icelandic surnames tell women from men.
    """
    letters = "".join(character for character in fold(name).casefold() if character.isalpha())
    if re.search(r"[aeiouy]e[vw]a?$", letters):  # Valiev and Valeeva differ, and belong to no shorter name
        return letters.removesuffix("a")
    stem = letters
    for ending in ENDINGS:
        stem = ending.sub("", stem)
    return stem


def read(path: Path) -> list[tuple[str, str]]:
    """Every line with its origin, of a folder of ``ORIGIN.txt``, or of a zip archive that holds such a folder."""
    if path.is_dir() and (path / "data.zip").is_file():
        path = path / "data.zip"
    if path.is_dir():
        places = [place for place in (path, path / "names", path / "data" / "names") if any(place.glob("*.txt"))]
        files = sorted(places[0].glob("*.txt")) if places else []
        lists = {file: archives.content(file, SIZE) for file in files}
    else:
        lists = _members(path)
    if not lists:
        raise BadInput("holds no ORIGIN.txt", path, "give a folder of such lists, or a zip archive of one")
    pairs = []
    for file, content in sorted(lists.items()):
        names = list(_lines(file, content))
        if not any(name.strip() for name, _ in names):
            raise BadInput("holds no name", file, "give another copy, or remove it")
        pairs += names
    return pairs


def _members(path: Path) -> dict[Path, bytes]:
    """The lists in an archive, by the archive's path and their own."""

    def wanted(name: str) -> bool:
        return name.endswith(".txt") and not name.startswith("__MACOSX/") and "/." not in f"/{name}"

    found = archives.zipped(path, wanted, SIZE)
    parents = {name.rpartition("/")[0] for name in found}
    named = {parent for parent in parents if parent.rpartition("/")[2] == "names"}
    if len(named or parents) > 1:
        raise BadInput(f"holds lists in {len(named or parents)} folders", path, "call one of them names")
    return {path / name: content for name, content in found.items() if name.rpartition("/")[0] in (named or parents)}


def _lines(file: Path, content: bytes) -> Iterator[tuple[str, str]]:
    text = decode(content, file)
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        if len(line) > LONGEST:
            raise BadInput(f"has {len(line)} characters", f"{file}, line {number}", "give one name a line")
        yield line, file.stem


DATASETS = (
    TextDataset(
        name="names",
        read=read,
        # Its publisher gives no checksum.
        remotes=(Remote("https://download.pytorch.org/tutorial/data.zip"),),
        fallback="surnames",
        group=group,
    ),
)
