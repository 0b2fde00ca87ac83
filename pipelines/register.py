"""Register a recorded model under a name in MLflow's registry, with a model card of what its run recorded.

usage: python -m pipelines.register RUN NAME [--alias champion]

RUN is an id, a run's name, or last. A name's versions are numbered; an alias points to one of them and moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    from pipelines.tracking.recorded import Facts, Recorded


@dataclass(frozen=True)
class Options:
    """What is registered, and as what."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, or last."""
    name: Annotated[str, tyro.conf.Positional]
    """Of the registered model."""
    alias: str = ""
    """Points to this version from now on: models:/NAME@ALIAS."""


def main(arguments: list[str]) -> None:
    """Register the model that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.register", __doc__)
    from pipelines import reports
    from pipelines.tracking import recorded, registry, runs, store

    console = reports.console()
    registry.check(options.name, options.alias)
    found = recorded.find(options.run)
    with store.faults():
        facts = recorded.facts(found)
    _check(found, facts)
    from pipelines import card

    with store.faults():
        text = card.write(found, facts)
    with runs.append(found, console) as run:
        run.text("model_card.md", text)
    with store.faults():
        version = registry.register(found, options.name, options.alias, _tags(facts), text)
    said = f"is version {version.number} of {options.name}" + ("" if version.new else " already")
    console.print(f"{found.name}: {said}; its card is model_card.md of run {found.id}", soft_wrap=True)
    if options.alias:
        moved = version.alias_from not in ("", version.number)
        before = f", before to version {version.alias_from}" if moved else ""
        console.print(f"models:/{options.name}@{options.alias}: points to it{before}; see make ui", soft_wrap=True)


def _check(found: Recorded, facts: Facts) -> None:
    """Refuse what has no model or no score."""
    if facts.tags.get("model") != "recorded":
        if facts.tags.get("group"):
            raise BadInput("is a group", f"run {found.name}", "register one of its runs")
        raise BadInput("holds no model", f"run {found.name}", "choose another")
    if facts.status != "FINISHED":
        raise BadInput(f"has not finished ({facts.status})", f"run {found.name}", "finish it, or choose another")


def _tags(facts: Facts) -> dict[str, str]:
    """What is said of a version beside its card."""
    names = ("recipe", "task", "data.source", "data.sha256", "data.test_sha256", "git.commit")
    scores = {name: f"{facts.metrics[name]:.5f}" for name in ("test/accuracy", "test/mse") if name in facts.metrics}
    return {name: facts.tags[name] for name in names} | scores


if __name__ == "__main__":
    command.main(main)
