"""Trainings that are parts of one run, each in a process of its own: begun, gone on with, or known to be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import isolation, training

if TYPE_CHECKING:
    from pipelines.training import Request

PATIENCE = 60.0
"""Seconds; a step and a checkpoint take less."""


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
