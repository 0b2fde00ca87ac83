"""Trainings that are parts of one run, each in a process of its own: begun, gone on with, or known to be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines import command, isolation, preparation, settings, sources, training
from pipelines.outcomes import Outcome, read_outcome

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.settings import Recipe
    from pipelines.tracking.runs import Run
    from pipelines.training import Request

PATIENCE = 60.0
"""Seconds; a step and a checkpoint take less."""


@dataclass(frozen=True)
class Parent:
    """What the run of several trainings is, before there is one."""

    group: str
    """What the trainings have in common, as a tag."""
    request: Request
    """Of one of them."""
    particulars: tuple[str, ...]
    """What its name says of it."""
    header: dict[str, object]
    """What going on with it will need."""
    params: dict[str, str] = field(default_factory=dict)
    """Those that are not the recipe's."""


@contextmanager
def begun(parent: Parent, console: Console) -> Iterator[tuple[Run, str]]:
    """A new run that trainings are to be parts of, and the notice of its data, with both said of it.

    Raises:
        BadInput: the data or the store can't be had.
    """
    from pipelines.tracking import runs, store

    name, recipe = parent.request.name, parent.request.recipe
    isolation.fork_server()  # it imports while this process prepares
    store.connect()
    splits = preparation.load(recipe, "", console)
    tags = {"stage": parent.request.stage, "recipe": name, "task": recipe.model.task, "group": parent.group}
    tags |= sources.tags(recipe)
    tags |= {f"data.{key}": splits.manifest[key] for key in ("source", "sha256", "test_sha256")}
    params = {**settings.flatten(settings.to_dict(recipe)), **parent.params}
    header = {"recipe_name": name, "continues": True, **parent.header}
    run_name = preparation.run_name(name, splits, *parent.particulars)
    with runs.start(splits.name, run_name, tags, params, header, console) as run:
        preparation.record_inputs(run, recipe, splits)
        yield run, splits.notice


@contextmanager
def taken_up(folder: Path, recipe: Recipe, console: Console) -> Iterator[tuple[Run, str]]:
    """The run of an unfinished group of trainings, as :func:`begun` gave it.

    Raises:
        BadInput: the data are others now, or the store can't be had.
    """
    from pipelines.tracking import journal, runs, store

    command.start_backend()
    store.connect()
    splits = preparation.load(recipe, journal.read_header(folder)["tags"]["data.sha256"], console)
    with runs.resume(folder, console) as run:
        preparation.record_inputs(run, recipe, splits)
        yield run, splits.notice


def train_all(run: Run, parts: Mapping[str, Request], again: str, console: Console) -> list[Outcome]:
    """Train the members of a run, one after the other, each in a process of its own.

    Args:
        run: theirs.
        parts: their requests, by what is particular about each in a word or two.
        again: how to go on after an interrupt.
        console: where to say which one begins.

    Raises:
        BadInput: one of them can't be done as asked.
        RunFailed: one of them broke down.
        Interrupted: this process was asked to end.
    """
    outcomes = []
    for number, (name, request) in enumerate(parts.items(), start=1):
        kept = outcome_of(run, name)
        kept.parent.mkdir(exist_ok=True)
        one = replace(request, group=run.id, outcome=str(kept))
        with command.interrupted_with(f"{run.name}: interrupted; {again}"):
            if not is_done(one):
                console.print(f"{run.name}: {name}, {number} of {len(parts)}", soft_wrap=True)
            status = carry_on(one, train, resume)
        _check(status, f"{run.name}, {name}", again)
        outcomes.append(read_outcome(kept))
    return outcomes


def outcome_of(run: Run, name: str) -> Path:
    """The file that gets the outcome of a run's member, given what is particular about it."""
    return run.folder / "members" / f"{name.replace(' ', '-')}.json"


def _check(status: int, where: str, again: str) -> None:
    """End as a training has ended, if not well."""
    if status > 128:
        raise command.Interrupted(status - 128, f"{where}: interrupted; {again}")
    if status == 1:
        raise command.RunFailed(f"{where}: the training failed, so the group has no result")
    if status:
        raise BadInput(f"ended with status {status}", where, again)


def carry_on(request: Request, carry_out: Callable[[Request], None], resume: Callable[[Path], None]) -> int:
    """Bring a member to its end: one that was under way when its process died goes on, one that is done stays.

    Args:
        request: says by ``group`` what it is a part of, and by ``outcome`` which part: a file that is there when the
            member is done.
        carry_out: called with the request in the other process.
        resume: called there with the folder of the unfinished member.

    Returns:
        The status of its process: see :func:`pipelines.command.run`.

    Raises:
        Interrupted: this process was asked to end.
    """
    if is_done(request):
        _send_rest(request)
        return 0
    begun = folder_of(request)
    if begun is None:
        return isolation.run_apart(carry_out, request)
    _wait_until_free(begun)
    return isolation.run_apart(resume, begun)


def is_done(request: Request) -> bool:
    """Whether a member has its outcome, and nothing is left to do for its run."""
    return Path(request.outcome).exists() and folder_of(request) is None


def _send_rest(request: Request) -> None:
    """Send what the process of a member that is done was killed before it could; nobody else would do so."""
    from pipelines.tracking import unfinished

    for folder in _folders(request):
        _wait_until_free(folder)
        with suppress(Exception):  # whatever the store's client raises: make sync can still send it
            unfinished.send(folder)


def _wait_until_free(folder: Path) -> None:
    """Wait for a process whose parent was killed a moment ago: it is keeping its last state."""
    from pipelines.tracking import journal

    deadline = time.monotonic() + PATIENCE
    while journal.is_open(folder) and time.monotonic() < deadline:
        time.sleep(0.2)


def folder_of(request: Request) -> Path | None:
    """The folder of a member that was begun and is not done."""
    from pipelines.tracking import unfinished

    return next((folder for folder in _folders(request) if not unfinished.has_finished(folder)), None)


def _folders(request: Request) -> list[Path]:
    """Those of a member's runs that are under way, or of which something has not been sent."""
    from pipelines.tracking import journal, unfinished

    folders = unfinished.members(request.group)
    return [folder for folder in folders if journal.read_header(folder)["outcome"] == request.outcome]


def train(request: Request) -> None:
    """Train a member, telling the terminal."""
    from pipelines import reports

    training.carry_out(request, reports.console())


def resume(folder: Path) -> None:
    """Go on with a member."""
    from pipelines import reports

    training.resume(folder, reports.console())
