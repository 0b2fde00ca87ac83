"""Bring a dataset into the cache: from its publisher, or from a local copy; verified and atomic.

usage: python -m pipelines.ingest DATASET [--from PATH] [--size N] [--resize crop|pad|stretch] [--strict]
                                          [--find-duplicates]

PATH is the publisher's archive, an .npz with x_train, y_train, x_test, y_test, or a folder of
train/CLASS/*.png and test/CLASS/*.png; for names a folder of ORIGIN.txt or a zip archive of one; for csv a file of
texts and labels; for folder a folder CLASS/*.jpg, of which a contact sheet is drawn.
--find-duplicates lists the images of the test set that stand in the training set, too, or nearly; what is in the cache
is not read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from pipelines import command

if TYPE_CHECKING:
    from rich.console import Console

    from data.spec import Cached

ROWS, COLUMNS = 20, 8
"""Classes on a contact sheet, and images of each."""


@dataclass(frozen=True)
class Options:
    """What is ingested."""

    dataset: Annotated[str, tyro.conf.Positional]
    """cifar10, cifar100, svhn, svhn-extra, mnist, fashion_mnist, digits, cifar10-standin, names, surnames, csv or
    folder."""
    path: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A local copy; without it, the publisher's address."""
    size: int = 0
    """folder: side in pixels that images are brought to."""
    resize: Literal["crop", "pad", "stretch"] = "crop"
    """folder: how images become square: their middle, all of them beside black, or out of proportion."""
    strict: bool = False
    """folder: refuse it if files can't be read, or if an image stands in two parts."""
    find_duplicates: bool = False
    """Images: list those that stand in two parts, or twice in a folder without parts, exactly or nearly."""


def main(arguments: list[str]) -> None:
    """Ingest the dataset that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.ingest", __doc__)

    import data
    from pipelines import reports

    console = reports.console()
    chosen = {"size": options.size, "resize": options.resize, "strict": options.strict}
    cached = None
    if options.find_duplicates:
        cached = data.cached(options.dataset, options.path, **chosen)
        reports.warn_of_stand_in(cached.notice, console)
    manifest = cached.manifest if cached else data.ingest(options.dataset, options.path, **chosen)
    console.print(reports.data_table(manifest))
    for fault in manifest.get("faults", ()):
        console.print(fault, soft_wrap=True)
    if options.dataset == "folder":
        _draw(manifest, data.DataConfig("folder", path=str(options.path), **chosen), console)
    if cached:
        _find_duplicates(cached, console)


def _find_duplicates(cached: Cached, console: Console) -> None:
    """Tell which images stand twice; the list and a figure go to the dataset's place in the cache."""
    from data import duplicates
    from pipelines.reports import duplicates as told

    told.write(cached, duplicates.find(cached.images), console)


def _draw(manifest: dict, config: object, console: Console) -> None:
    """Write a contact sheet of a folder into its place in the cache."""
    import data
    from pipelines.reports import figures

    place, examples = data.examples(manifest, config, COLUMNS)
    totals = [sum(counts) for counts in zip(*manifest["counts"].values(), strict=True)]
    shown = dict(list(examples.items())[:ROWS])
    path = place / "contact.png"
    figures.contact_sheet(shown, totals[:ROWS]).savefig(path)
    rest = f" (the first {ROWS} of {len(examples)} classes)" if len(examples) > ROWS else ""
    console.print(f"contact sheet{rest}: {path}", soft_wrap=True)


if __name__ == "__main__":
    command.main(main)
