"""The page of a comparison: one file that needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from data.spec import Source
from pipelines.comparing import figures, pairs, words
from pipelines.comparing.pairs import Pair
from pipelines.comparing.sides import Side
from pipelines.comparing.tables import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("page.html")

SHOWN = 24
"""Flipped rows of each kind."""


@dataclass(frozen=True)
class Picture:
    """A figure with what one should know to read it."""

    name: str
    """Of its file."""
    title: str
    caption: str
    figure: Figure

    def __post_init__(self) -> None:
        """Lay the figure out once, not for each of the two files that it goes to, which takes as long as drawing."""
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    @property
    def uri(self) -> str:
        """As a vector drawing within the page."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        file, dpi = io.BytesIO(), self.figure.dpi
        FigureCanvasSVG(self.figure).print_svg(file, metadata={"Date": None})  # savefig draws twice
        self.figure.set_dpi(dpi)
        return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"


@dataclass(frozen=True)
class Example:
    """A test row that flipped."""

    row: int
    label: str
    answers: tuple[str, ...]
    """What each side made of it."""
    text: str = ""
    image: str = ""
    """As a data URI."""


@dataclass(frozen=True)
class Gallery:
    """Rows that became right, or wrong."""

    title: str
    note: str
    examples: list[Example]


@dataclass(frozen=True)
class Section:
    """One pair."""

    title: str
    letters: tuple[str, str]
    pictures: list[Picture]
    galleries: list[Gallery]
    tables: dict[str, pd.DataFrame]
    """What it shows, by file name."""


@dataclass(frozen=True)
class Page:
    """All that a comparison shows."""

    title: str
    notice: str
    sides: Sequence[Side]
    verdict: list[str]
    grids: list[Grid]
    pictures: list[Picture]
    sections: list[Section]
    remarks: list[str] = field(default_factory=list)
    """What could not be shown, and why."""

    def html(self) -> str:
        """The page."""
        import jinja2

        loader = jinja2.FileSystemLoader(TEMPLATE.parent)
        environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        environment.globals["color"] = figures.color
        return environment.get_template(TEMPLATE.name).render(page=self)

    def figures(self) -> dict[str, Figure]:
        """All figures by file name."""
        parts = [self.pictures, *(section.pictures for section in self.sections)]
        return {picture.name: picture.figure for part in parts for picture in part}

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by file name; those of pairs say in a column of which."""
        found = {grid.title.lower().replace(" ", "_"): grid.frame() for grid in self.grids}
        for name in self.sections[0].tables:
            parts = [section.tables[name].assign(pair=section.title) for section in self.sections]
            found[name] = pd.concat(parts, ignore_index=True)
        return found


def overview(sides: Sequence[Side], notice: str) -> list[Picture]:
    """The figures of all sides together."""
    added = "Seconds of all epochs so far; the first one begins with compiling."
    same = "Losses compare only where their settings are the same, label smoothing and penalties among them."
    band = " The band of several seeds reaches from the lowest to the highest." if _several(sides) else ""
    front = "The dashed line joins the sides that no other beats in both. Times depend on the machine and its load."
    deviation = " Whiskers: standard deviation over the seeds." if _several(sides) else ""
    found = [
        ("curves_by_epoch", "Curves by epoch", same + band, figures.curves(sides, False, notice)),
        (
            "curves_by_second",
            "Curves by second",
            added,
            figures.curves(sides, True, notice),
        ),
        ("cost", "Cost against score", front + deviation, figures.costs(sides, notice)),
    ]
    return [Picture(*one) for one in found if one[-1] is not None]


def section(pair: Pair, classes: Sequence[str], inputs: Source | None, notice: str) -> Section:
    """What a pair's page shows by class and by row.

    Args:
        pair: two sides.
        classes: their names.
        inputs: of the test set, (N, ...), where they are here.
        notice: shown on each figure where stand-in data is used.
    """
    letters = (pair.first.letter, pair.second.letter)
    if not pair.first.classifies:
        changed = pairs.changed_errors(pair)
        return Section(pair.name, letters, [], _error_galleries(pair, changed, inputs), {"errors": changed})
    ending = "_".join(reversed(letters))
    by_class = pairs.by_class(pair, classes)
    several = " Means over the seeds." if _several((pair.first, pair.second)) else ""
    bars = f"With 95 % bootstrap intervals; of twenty classes one leaves 0 out by chance alone.{several}"
    if len(by_class) > figures.BARS:
        bars += f" The {figures.BARS} classes of {len(by_class)} that changed most."
    cells = f"{pair.second.letter} minus {pair.first.letter}: on the diagonal blue is better, off it red is.{several}"
    change = pairs.confusion_change(pair, len(classes))
    drawn = figures.class_changes(pair, by_class, notice)
    matrix = figures.confusion_change(pair, change, classes, notice)
    pictures = [
        Picture(f"classes_{ending}", "Which classes gained and lost", bars, drawn),
        Picture(f"confusion_{ending}", "Difference of the confusion matrices", cells, matrix),
    ]
    flipped = pairs.flipped(pair)
    found = {"per_class": by_class, "flipped": flipped}
    return Section(pair.name, letters, pictures, _galleries(pair, flipped, classes, inputs), found)


def _several(sides: Sequence[Side]) -> bool:
    return any(len(side.members) > 1 for side in sides)


def _galleries(pair: Pair, flipped: pd.DataFrame, classes: Sequence[str], inputs: Source | None) -> list[Gallery]:
    first, second, kind = pair.first, pair.second, words.inputs(pair.first)
    found = []
    for gained in (True, False):
        rows = flipped[flipped["gained"] == gained]
        became, right, wrong = ("right", second, first) if gained else ("wrong", first, second)
        count = f"{len(rows):,} {kind if len(rows) != 1 else kind.removesuffix('s')}"
        mostly = " in most trainings" if _several((first, second)) else ""
        note = f"Shown are the {SHOWN} whose true class changed its probability most." if len(rows) > SHOWN else ""
        title = f"{count} became {became}: {right.letter} right, {wrong.letter} wrong{mostly}"
        found.append(Gallery(title, note, [_flip(pair, row, classes, inputs) for row in rows.head(SHOWN).itertuples()]))
    return found


def _flip(pair: Pair, row: object, classes: Sequence[str], inputs: Source | None) -> Example:
    """A flipped row with both answers."""
    answers = []
    for side, ending in ((pair.first, "first"), (pair.second, "second")):
        answer, confidence = getattr(row, f"answer_{ending}"), getattr(row, f"confidence_{ending}")
        right = round(getattr(row, f"right_{ending}") * len(side.members))
        of = f", {right} of {len(side.members)} right" if len(side.members) > 1 else ""
        answers.append(f"{classes[answer]} {confidence:.0%}{of}")
    return Example(row.row, classes[row.label], tuple(answers), **_shown(inputs, row.row))


def _error_galleries(pair: Pair, changed: pd.DataFrame, inputs: Source | None) -> list[Gallery]:
    found = []
    for gained, word in ((True, "smaller"), (False, "larger")):
        rows = changed[changed["gained"] == gained]
        title = f"{len(rows):,} images whose error is {word} in {pair.second.letter} than in {pair.first.letter}"
        note = f"Shown are the {SHOWN} whose error changed most." if len(rows) > SHOWN else ""
        examples = [
            Example(row.row, "", (f"{row.first:#.3g}", f"{row.second:#.3g}"), **_shown(inputs, row.row))
            for row in rows.head(SHOWN).itertuples()
        ]
        found.append(Gallery(title, note, examples))
    return found


def _shown(inputs: Source | None, row: int) -> dict[str, str]:
    """An input as text or as an image."""
    if inputs is None:
        return {}
    one = inputs[np.array([row])][0]
    return {"text": str(one)} if isinstance(one, str) else {"image": image_uri(one)}


def image_uri(pixels: np.ndarray) -> str:
    """An image uint8 (H, W, C) as a PNG within the page."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
