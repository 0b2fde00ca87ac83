"""Names to origin: recorded trainings beside linear classifiers of scikit-learn, on the same splits.

usage: python -m benchmarks.names_baselines [--name names] [--splits 0 1 2] [--runs RUN …]

Linear: TF-IDF of character n-grams (1 to 5), then multinomial logistic regression, plain or with classes balanced.
Whether n-grams know where a word ends (char_wb), whether counts are dampened, and C are chosen by accuracy on the
validation part. As in our recipes weights are fitted to the training part alone, and the test set is looked at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from rich.console import Console
from rich.table import Table

import data
from data.errors import BadInput
from data.spec import DataConfig, Split, Splits
from pipelines import command, reports

ANALYZERS = ("char", "char_wb")
STRENGTHS = (3.0, 10.0, 30.0, 100.0)
"""Values of C."""

LINEAR = {"linear": None, "linear, balanced": "balanced"}
"""Class weights of each baseline."""

OURS = "recorded"


@dataclass
class Options:
    """Which splits of which data, and which trainings."""

    name: str = "names"
    """Dataset of texts."""
    splits: tuple[int, ...] = (0, 1, 2)
    """Seeds of the test set."""
    runs: tuple[str, ...] = ()
    """Ids or names of recorded trainings on these splits; those on one split are averaged."""


@dataclass(frozen=True)
class Found:
    """A classifier on the test set of a split."""

    accuracy: float
    macro_f1: float
    seconds: float
    """Of training; of a linear classifier the last fit alone."""
    note: str
    """What was chosen on the validation part, or how many trainings this is the mean of."""


def texts(split: Split) -> list[str]:
    return split.inputs[np.arange(len(split))].tolist()


def fit_linear(splits: Splits, class_weight: str | None) -> Found:
    """The logistic regression that is best on the validation part, on the test set."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    best, found = -1.0, None
    for analyzer, sublinear in product(ANALYZERS, (True, False)):
        features = TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 5), sublinear_tf=sublinear)
        train = features.fit_transform(texts(splits.train))
        val, test = (features.transform(texts(part)) for part in (splits.val, splits.test))
        for strength in STRENGTHS:
            begin = time.perf_counter()
            # At scikit-learn's own tolerance, 1e-4, fits take several times as long.
            model = LogisticRegression(C=strength, class_weight=class_weight, max_iter=1000, tol=1e-3)
            model.fit(train, splits.train.labels)
            seconds = time.perf_counter() - begin
            accuracy = model.score(val, splits.val.labels)
            if accuracy > best:
                note = f"{analyzer}, {'sublinear' if sublinear else 'linear'} counts, C {strength:g}"
                best, found = accuracy, (model, test, seconds, note)
    model, test, seconds, note = found
    predicted, classes = model.predict(test), np.arange(len(splits.spec.classes))
    macro_f1 = f1_score(splits.test.labels, predicted, labels=classes, average="macro", zero_division=0.0)
    return Found(float(np.mean(predicted == splits.test.labels)), float(macro_f1), seconds, note)


def by_split(runs: Sequence[str], loaded: dict[int, Splits]) -> dict[int, list[Found]]:
    """What recorded trainings reached, by the seed of their test set.

    Raises:
        BadInput: one of them was tested on something else.
    """
    from pipelines.tracking import recorded

    found: dict[int, list[Found]] = {number: [] for number in loaded}
    for reference in runs:
        run = recorded.find(reference)
        tested = run.tags().get("data.test_sha256")
        same = [number for number, splits in loaded.items() if splits.manifest["test_sha256"] == tested]
        if not same:
            raise BadInput("was tested on none of these splits", f"run {reference}", "leave it out, or give --splits")
        history = run.history()
        accuracy, macro_f1, seconds = (
            history[name][-1][1] for name in ("test/accuracy", "test/macro_f1", "train_seconds")
        )
        found[same[0]].append(Found(accuracy, macro_f1, seconds, ""))
    lacking = [str(number) for number, ones in found.items() if runs and not ones]
    if lacking:
        raise BadInput(f"no run of split {', '.join(lacking)}", "--runs", "give one for each of --splits")
    return found


def mean(found: Sequence[Found], note: str = "") -> Found:
    figures = np.array([(one.accuracy, one.macro_f1, one.seconds) for one in found])
    return Found(*map(float, figures.mean(axis=0)), note)


def table(results: dict[str, dict[int, Found]], title: str) -> Table:
    """A row for each classifier and split, their means, and by how much ours differs from each."""
    shown = Table(title=title, title_justify="left")
    for column in ("classifier", "split", "accuracy", "macro F1", "seconds", "chosen on validation"):
        shown.add_column(column, justify="left" if column.startswith("c") else "right")
    means = {name: mean(list(ones.values())) for name, ones in results.items()}
    for name, ones in results.items():
        for number, one in [*ones.items(), ("mean", means[name])]:
            shown.add_row(
                name, str(number), f"{one.accuracy:.2%}", f"{one.macro_f1:.4f}", f"{one.seconds:.1f}", one.note
            )
        shown.add_section()
    for name in LINEAR if OURS in results else ():
        for number, ours, theirs in [
            *((str(number), one, results[name][number]) for number, one in results[OURS].items()),
            ("mean", means[OURS], means[name]),
        ]:
            points, macro_f1 = 100 * (ours.accuracy - theirs.accuracy), ours.macro_f1 - theirs.macro_f1
            shown.add_row(f"{OURS} less {name}", number, f"{points:+.2f} points", f"{macro_f1:+.4f}", "", "")
        shown.add_section()
    return shown


def main(arguments: list[str]) -> None:
    options = command.parse(Options, arguments, "python -m benchmarks.names_baselines", __doc__)
    console: Console = reports.console()
    loaded = {number: data.load(DataConfig(options.name, split=number)) for number in options.splits}
    ours = by_split(options.runs, loaded)
    results: dict[str, dict[int, Found]] = {name: {} for name in LINEAR}
    for number, splits in loaded.items():
        for name, class_weight in LINEAR.items():
            results[name][number] = fit_linear(splits, class_weight)
            console.print(f"split {number}, {name}: accuracy {results[name][number].accuracy:.2%}", soft_wrap=True)
    if options.runs:
        results[OURS] = {number: mean(ones, f"{len(ones)} trainings") for number, ones in ours.items()}
    first = next(iter(loaded.values()))
    sizes = ", ".join(f"{name} {len(getattr(first, name)):,}" for name in ("train", "val", "test"))
    console.print(table(results, f"{first.name} ({sizes} of split {options.splits[0]})"))


if __name__ == "__main__":
    command.main(main)
