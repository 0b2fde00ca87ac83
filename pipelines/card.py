"""A model card in Markdown (Mitchell et al., arXiv 1810.03993), out of what a run has recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines import settings
from pipelines.comparing import tables
from pipelines.comparing.sides import Member, Side
from pipelines.reports import classification, seeds
from pipelines.tracking import recorded

if TYPE_CHECKING:
    from pipelines.tracking.recorded import Facts, Recorded

CONFUSIONS = 5
"""The most frequent ones that are named."""

KINDS = {
    "classification": "a classifier of images",
    "sequence": "a classifier of short texts",
    "autoencoding": "an autoencoder of images",
}
"""What a model of each task is."""

INPUTS = {"classification": "photo.jpg", "sequence": "Nakamura, Silva", "autoencoding": "photo.jpg"}
"""What it may be asked, by task."""


def write(run: Recorded, facts: Facts) -> str:
    """The card of a finished training."""
    predictions = recorded.table(run, "predictions").sort_values("row", ignore_index=True)
    side = Side("value", run.name, (Member(run, facts, predictions, run.history()),))
    data, recipe = run.data(), run.recipe()
    parts = {
        "": _summary(side, data),
        "Data": _data(side, data, recipe["data"]),
        "Recipe": _recipe(facts.tags["recipe"], recipe),
        "Results on the test set": _results(side),
    }
    if side.classifies:
        parts["Classes"] = _classes(side, data["classes"])
    parts |= {
        "Limits": _bullets(_limits(side, data)),
        "How to use it": _use(side.task, run.id),
        "How to repeat the training": _repeat(run, facts.tags),
    }
    return "\n".join(f"## {title}\n\n{text}\n" if title else f"{text}\n" for title, text in parts.items())


def _summary(side: Side, data: dict) -> str:
    tags, metrics = side.members[0].facts.tags, side.members[0].facts.metrics
    classes = data.get("classes", ()) if side.classifies else ()
    shown = ", ".join(classes[:30]) + (", …" if len(classes) > 30 else "")
    what = KINDS[side.task] + (f" into {len(classes)} classes: {shown}" if classes else "")
    lines = [f"# {side.name}", f"This is {what}."]
    if asked := side.members[0].stands_in_for:
        name = data["name"]
        lines.append(f"**STAND-IN DATA: {name} instead of {asked}. These results say nothing about {asked}.**")
    lines.append(
        f"{metrics['parameters']:,.0f} parameters; trained by Keras on {tags['keras.backend']} ({tags['device']}, "
        f"{tags['precision']}) in {metrics['train_seconds']:,.0f} s; recorded in float32, with the code it needs, "
        f"by run `{side.members[0].run.id}`."
    )
    return "\n\n".join(lines)


def _data(side: Side, data: dict, config: dict) -> str:
    kept = config["validation"]
    rows = {
        "dataset": f"{data['name']} ({data['source']})",
        "from": data["origin"],
        **{f"examples, {part}": f"{sum(counts):,}" for part, counts in data.get("counts", {}).items()},
        "kept for validation": f"{kept:.0%} of training" if kept < 1 else f"{kept:,.0f} of training",
        "trained on at most": f"{config['limit']:,}" if config["limit"] else "",
        "trained on, of each class": f"{config['shots']:,}" if config.get("shots") else "",
        "scored on": f"{len(side.scores):,}",
        "sha256 of training data": f"`{data['sha256']}`",
        "sha256 of test data": f"`{data['test_sha256']}`",
    }
    return _table(("", ""), (row for row in rows.items() if row[1]))


def _recipe(name: str, recipe: dict) -> str:
    """What is set; what is zero, empty or off is left out."""
    found = {key: value for key, value in settings.flatten(recipe).items() if value not in (0, "", False, [], {}, None)}
    rows = (
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)) for key, value in found.items()
    )
    return f"`{name}`; what is not listed is zero, empty or off.\n\n{_table(('parameter', 'value'), rows)}"


def _results(side: Side) -> str:
    """The metrics with their intervals, and what other seeds gave."""
    grid = tables.metrics([side])
    member = side.members[0]
    name = "test/accuracy" if side.classifies else "test/mse"
    values = recorded.other_seeds(member.run).get(name, [])
    lines = [_table(("metric", "value"), grid.rows), grid.note]
    if len(values) > 1:
        found = seeds.statistics(values)
        spread = (
            f"{found['mean']:.4f}, standard deviation {found['std']:.4f}, from {min(values):.4f} to {max(values):.4f}"
        )
        lines.append(f"{name} of {len(values)} trainings that differ in their seed alone: mean {spread}.")
    return "\n\n".join(lines)


def _classes(side: Side, classes: Sequence[str]) -> str:
    found = classification.class_table(side.predicted[0], side.labels, tuple(classes))
    rows = (
        (row["class"], *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")), f"{row['examples']:,.0f}")
        for row in found.to_dict("records")
    )
    return _table(("class", "precision", "recall", "F1", "test examples"), rows)


def _limits(side: Side, data: dict) -> list[str]:
    """What the numbers above do not say."""
    lines = []
    rows = len(side.scores)
    if side.classifies:
        lines.append(_confusions(side, data["classes"]))
        lines.append("An input that belongs to none of the classes gets one of them all the same.")
    lines.append(
        f"All results are those of {rows:,} test examples of the same source as the training examples. Inputs of "
        "another origin, damaged ones or such as are made to deceive it were not tested."
    )
    others = len(recorded.other_seeds(side.members[0].run).get("parameters", []))
    if others < 2:
        lines.append("It was trained with one seed: how much the training's own randomness matters is not known.")
    if side.task == "sequence":
        lines.append("Characters that no training text has are all the same to it.")
    return lines


def _confusions(side: Side, classes: Sequence[str]) -> str:
    """The most frequent mistakes, in a sentence."""
    wrong = ~side.right[0]
    if not wrong.any():
        return "It makes no mistake on the test set, which is therefore too small or too easy to tell its limits."
    pairs, counts = np.unique(np.stack([side.labels, side.predicted[0]])[:, wrong], axis=1, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:CONFUSIONS]
    named = ", ".join(f"{classes[pairs[0, n]]} for {classes[pairs[1, n]]} ({counts[n]:,})" for n in most)
    return f"It makes {wrong.sum():,} mistakes on the test set; most often it takes {named}."


def _use(task: str, run: str) -> str:
    """By the run, since an alias may point to another version some day."""
    text = task == "sequence"
    given = '["Nakamura", "Silva"]' if text else '["photo.jpg"]'
    remark = "or a column of texts" if text else "or base64 of such files, or pixels, uint8 (N, H, W, C)"
    found = (
        "images, on the scale 0 to 255" if task == "autoencoding" else "probabilities of the classes, in their order"
    )
    return (
        f'```sh\nmake predict RUN={run} INPUT="{INPUTS[task]}"\nmake serve RUN={run}\n```\n\n'
        "```python\nimport mlflow\n\n"
        f'model = mlflow.pyfunc.load_model("runs:/{run}/model").get_raw_model()\n'
        f"outputs = model.predict({given})  # {remark}\n```\n\nOutputs are {found}."
    )


def _repeat(run: Recorded, tags: dict[str, str]) -> str:
    changed = ", with changes that were not committed" if tags["git.dirty"] == "true" else ""
    return (
        f"`make reproduce RUN={run.id}`; the code was commit `{tags['git.commit']}`{changed}, the versions of all "
        "libraries are in the run's `environment.txt`."
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
