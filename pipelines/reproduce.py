"""Run a recorded training again from its own record, and say whether the result is the same.

usage: python -m pipelines.reproduce RUN

RUN is an id, a run's name, or last. A deterministic training must come out the same bit for bit, weights and metrics.
Any other is measured against the spread of runs that differ from it in their seed alone, where there are two or more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.outcomes import Outcome
    from pipelines.tracking.recorded import Recorded


@dataclass(frozen=True)
class Options:
    """What is reproduced."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, or last."""
    trust: bool = False
    """Execute code in the network that it begins from, or recorded with it; without it nothing of it is executed."""


def main(arguments: list[str]) -> None:
    """Reproduce the run that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.reproduce", __doc__)

    from pipelines import reports, settings, training
    from pipelines.tracking import environment, recorded, runs, store

    command.start_backend()
    from pipelines.fitting import replicas

    replicas.refuse_hosts("reproductions")
    console = reports.console()
    found = recorded.find(options.run)
    tags = found.tags()
    _check(found, tags)
    for line in environment.differences(tags, found.text("environment.txt")):
        console.print(f"{found.name}: {line}", soft_wrap=True)
    metrics = found.history()
    request = training.Request(
        tags["recipe"],
        replace(settings.from_dict(found.recipe()), precision=tags["precision"]),
        tta="test/tta_accuracy" in metrics,
        tags={"reproduces": found.id},
        threads=int(tags.get("threads", 0)),
        data_sha256=tags["data.sha256"],
        trust=options.trust,
    )
    with store.faults():
        spread = recorded.other_seeds(found)
    outcome = training.carry_out(request, console)
    if request.recipe.deterministic:
        verdict, line = _exactly(metrics, tags["weights.sha256"], outcome)
    else:
        verdict, line = _about(metrics, spread, outcome, console)
    with runs.append(recorded.Recorded(outcome.run, outcome.name, found.experiment), console) as run:
        run.tags({"reproduction": verdict})
    if verdict == "different":
        raise command.RunFailed(f"{found.name}: {line}")
    console.print(f"{found.name}: {line}", soft_wrap=True)


def _check(found: Recorded, tags: dict[str, str]) -> None:
    """Refuse what is no finished training."""
    if tags.get("group"):
        raise BadInput("is a group", f"run {found.name}", "reproduce one of its runs")
    if tags.get("stage") not in ("train", "transfer") or "weights.sha256" not in tags:
        raise BadInput("is no finished training", f"run {found.name}", "choose another, see make ui")


def _exactly(metrics: dict[str, list[tuple[int, float]]], weights: str, outcome: Outcome) -> tuple[str, str]:
    """Whether weights and metrics are the same bit for bit: a word, and a line."""
    from pipelines.outcomes import TIMES

    again = {(name, 0): value for name, value in outcome.final.items()}
    for epoch, values in enumerate(outcome.history, start=1):
        again |= {(name, epoch): value for name, value in values.items()}
    before = {(name, step): value for name, points in metrics.items() for step, value in points}
    compared = [key for key in again if key[0] not in TIMES]
    differing = [key for key in compared if before.get(key) != again[key]]
    if differing:
        name, step = differing[0]
        line = f"{len(differing)} of {len(compared)} values differ; {name} at step {step} was "
        return "different", f"{line}{before.get((name, step))}, is {again[name, step]}"
    if weights != outcome.weights:
        return "different", "all metrics are the same, the weights are not"
    return "identical", f"the same bit for bit: all weights, and {len(compared)} values of metrics"


def _about(
    metrics: dict[str, list[tuple[int, float]]], spread: dict[str, list[float]], outcome: Outcome, console: Console
) -> tuple[str, str]:
    """Whether the final metrics lie within what the seed alone makes of them: a word, and a line.

    Two runs that differ by chance alone differ by less than t * s * sqrt(2) in 95 % of cases, where s is the standard
    deviation over n seeds and t the 97.5 % point of Student's distribution with n - 1 degrees of freedom.
    """
    from rich.table import Table
    from scipy.stats import t

    from pipelines.reports import seeds

    table = Table(title="Reproduction", title_justify="left")
    for column in ("metric", "then", "now", "difference", "by chance up to"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    beyond = []
    compared = [name for name in outcome.final if name.startswith("test/") and not name.endswith(("_low", "_high"))]
    for name in compared:
        then, now, known = metrics[name][-1][1], outcome.final[name], spread.get(name, [])
        limit = None
        if len(known) > 1:
            limit = float(t.ppf(0.975, len(known) - 1)) * seeds.statistics(known)["std"] * 2**0.5
        if limit is not None and abs(now - then) > limit:
            beyond.append(name)
        shown = "unknown" if limit is None else f"{limit:.4f}"
        table.add_row(name, f"{then:.4f}", f"{now:.4f}", f"{now - then:+.4f}", shown)
    console.print(table)
    count = min((len(spread.get(name, [])) for name in compared), default=0)
    if count < 2:
        return "unknown", "not deterministic, and too few runs with other seeds tell the spread: train some by SEEDS=5"
    if beyond:
        return "different", f"{', '.join(beyond)} differ by more than {count} seeds explain"
    return "within the spread", f"the same within the spread of {count} seeds"


if __name__ == "__main__":
    command.main(main)
