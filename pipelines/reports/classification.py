"""The report on a classifier: metrics, per-class table, figures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.table import Table

from data.spec import Spec, Split
from pipelines.reports import Report, figures

BINS = 15
"""Of the calibration error (Guo et al., arXiv 1706.04599, section 3)."""

MISTAKES = 40
"""In the gallery."""

AVERAGED = "tta_"
"""Begins the names of metrics of probabilities that are averaged over several views."""

GALLERIES = {"images": figures.mistaken_images, "text": figures.mistaken_texts}
"""What draws the mistakes, by the kind of the inputs."""


def report(probabilities: np.ndarray, split: Split, spec: Spec, notice: str) -> Report:
    """Everything about one classifier on one split.

    Args:
        probabilities: (N, classes), float.
        split: the inputs and labels they are for, in the same order.
        spec: names the classes.
        notice: shown on each figure where stand-in data is used.
    """
    labels, predicted = split.labels, probabilities.argmax(axis=1)
    metrics = scores(probabilities, labels)
    per_class = class_table(predicted, labels, spec.classes)
    metrics["macro_f1"] = float(per_class["f1"].mean())
    predictions = pd.DataFrame(
        {
            "row": np.arange(len(labels)),
            "label": labels.astype(np.int64),
            "predicted": predicted.astype(np.int64),
            "probabilities": list(probabilities.astype(np.float32)),
        }
    )
    worst = predictions[predictions.label != predictions.predicted]
    confidence = probabilities[worst.row, worst.predicted]
    worst = worst.assign(confidence=confidence).sort_values("confidence", ascending=False).head(MISTAKES)
    reliability = calibration(probabilities, labels)
    drawn = {
        "confusion_matrix": figures.confusion(labels, predicted, spec.classes, notice),
        "reliability": figures.reliability(reliability, metrics["ece"], notice),
        "per_class_f1": figures.bars(per_class["class"], per_class["f1"], "F1", notice),
    }
    if len(worst):
        inputs = split.inputs[worst.row.to_numpy()]
        drawn["mistakes"] = GALLERIES[spec.kind](inputs, worst, spec.classes, notice)
    tables = {"per_class": per_class, "calibration": reliability}
    return Report(metrics, predictions, summary(metrics, len(labels), notice), tables, drawn)


def add_averaged(found: Report, probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Add probabilities that are averages over several views, and their metrics as ``tta_…``.

    Args:
        found: the report on plain probabilities.
        probabilities: (N, classes), float.
        labels: (N,).
    """
    metrics = scores(probabilities, labels)
    classes = tuple(map(str, range(probabilities.shape[1])))
    metrics["macro_f1"] = float(class_table(probabilities.argmax(axis=1), labels, classes)["f1"].mean())
    found.metrics |= {f"{AVERAGED}{name}": value for name, value in metrics.items()}
    found.predictions["averaged"] = list(probabilities.astype(np.float32))
    found.summary.add_row("accuracy, averaged views", f"{metrics['accuracy']:.2%}")


def ensemble(members: Sequence[pd.DataFrame]) -> Report:
    """What several classifiers say together: the mean of their probabilities for each example of the test set.

    Args:
        members: the predictions of each, as :func:`report` gives them; two or more.
    """
    labels, count = members[0]["label"].to_numpy(), len(members)
    shown = Table(title=f"Ensemble of {count}: mean probabilities", title_justify="left")
    for column in ("views", "accuracy", "95 % interval", "loss (nats)"):
        shown.add_column(column, justify="left" if column == "views" else "right")
    found, predictions = {}, pd.DataFrame({"row": members[0]["row"], "label": labels})
    for column, prefix, views in (("probabilities", "", "one"), ("averaged", AVERAGED, "averaged")):
        if column not in members[0]:
            continue
        mean = np.mean([np.stack(member[column].to_numpy()) for member in members], axis=0)
        metrics = scores(mean, labels)
        found |= {f"{prefix}ensemble_{name}": value for name, value in metrics.items()}
        predictions[column] = list(mean)
        shown.add_row(views, f"{metrics['accuracy']:.2%}", _interval(metrics), f"{metrics['loss']:.4f}")
    return Report(found, predictions, shown, {}, {})


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy with its 95 % interval, top-k accuracy, cross-entropy in nats, calibration error."""
    from scipy.stats import binomtest
    from sklearn.metrics import log_loss, top_k_accuracy_score

    classes = np.arange(probabilities.shape[1])
    right = int((probabilities.argmax(axis=1) == labels).sum())
    interval = binomtest(right, len(labels)).proportion_ci(method="wilson")
    found = {
        "accuracy": right / len(labels),
        "accuracy_low": float(interval.low),
        "accuracy_high": float(interval.high),
    }
    for k in (3, 5):
        if len(classes) > k:
            found[f"top{k}_accuracy"] = float(top_k_accuracy_score(labels, probabilities, k=k, labels=classes))
    with warnings.catch_warnings():
        # float32 rows sum to 1 within 1e-6, which scikit-learn remarks on.
        warnings.simplefilter("ignore", UserWarning)
        found["loss"] = float(log_loss(labels, probabilities.astype(np.float64), labels=classes))
    bins = calibration(probabilities, labels)
    found["ece"] = float((bins["count"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / len(labels))
    return found


def calibration(probabilities: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """For each bin of the largest probability that is not empty: low end, examples, mean of it, share right."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    frame = pd.DataFrame({"bin": number, "confidence": confidence.astype(np.float64), "accuracy": right.astype(float)})
    table = frame.groupby("bin").agg(
        count=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    return table.reset_index().assign(low=lambda rows: rows["bin"] / BINS)


def class_table(predicted: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Precision, recall, F1 and number of examples of each class."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predicted, labels=np.arange(len(classes)), zero_division=0.0)
    names = ("precision", "recall", "f1", "examples")
    return pd.DataFrame({"class": classes, **dict(zip(names, columns, strict=True))})


def summary(metrics: dict[str, float], count: int, notice: str) -> Table:
    """The short table for the terminal."""
    table = Table(title=f"Test set, {count:,} examples", title_justify="left", caption=notice or None)
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_row("accuracy", f"{metrics['accuracy']:.2%}  (95 %: {_interval(metrics)})")
    for name, text in (("top3_accuracy", "top-3 accuracy"), ("top5_accuracy", "top-5 accuracy")):
        if name in metrics:
            table.add_row(text, f"{metrics[name]:.2%}")
    table.add_row("macro F1", f"{metrics['macro_f1']:.4f}")
    table.add_row("loss (nats)", f"{metrics['loss']:.4f}")
    table.add_row("calibration error", f"{metrics['ece']:.4f}")
    return table


def _interval(metrics: dict[str, float]) -> str:
    return f"{metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}"
