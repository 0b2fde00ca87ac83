"""Running a function in a process of its own: what it does to memory or libraries ends with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

from pipelines import command


def run_apart(function: Callable[..., None], *arguments: object) -> int:
    """Call a function in a fresh process as a stage's command is run, and wait for it.

    Ctrl-C and SIGTERM are handed on as SIGTERM; the process ends as by SIGTERM also when this one dies.

    Args:
        function: of a module's top level.
        *arguments: are pickled.

    Returns:
        The process's exit status, as :func:`pipelines.command.main` makes it; negative if a signal killed it.

    Raises:
        Interrupted: this process was asked to end; the other one has ended.
    """
    process = multiprocessing.get_context("spawn").Process(target=_inside, args=(function, arguments))

    asked = []

    def hand_on(number: int, frame: object) -> None:
        asked.append(number)
        if process.is_alive():
            process.terminate()

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process.start()
        process.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise command.Interrupted(asked[0])
    return process.exitcode


def _inside(function: Callable[..., None], arguments: tuple) -> None:
    os.setsid()  # a terminal sends Ctrl-C to all of a session; this process is to get it once, from its parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    command.main(lambda _: function(*arguments))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
