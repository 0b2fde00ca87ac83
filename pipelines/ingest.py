"""Bring a dataset into the cache: from its publisher, or from a local copy; verified and atomic.

usage: python -m pipelines.ingest DATASET [--from PATH]

PATH is the publisher's archive, an .npz with x_train, y_train, x_test, y_test, or a folder of
train/CLASS/*.png and test/CLASS/*.png; for names a folder of ORIGIN.txt or a zip archive of one; for csv a file of
texts and labels; for folder a folder CLASS/*.jpg.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pipelines import command


@dataclass(frozen=True)
class Options:
    """What is ingested."""

    dataset: Annotated[str, tyro.conf.Positional]
    """cifar10, cifar100, svhn, svhn-extra, mnist, fashion_mnist, digits, cifar10-standin, names, surnames, csv or
    folder."""
    path: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A local copy; without it, the publisher's address."""


def main(arguments: list[str]) -> None:
    """Ingest the dataset that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.ingest", __doc__)

    import data
    from pipelines import reports

    manifest = data.ingest(options.dataset, options.path)
    reports.console().print(reports.data_table(manifest))


if __name__ == "__main__":
    command.main(main)
