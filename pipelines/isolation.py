"""Running a function in a process of its own: what it does to memory or libraries ends with it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Sequence

from pipelines import command


def run_apart(function: Callable[..., None], *arguments: object) -> int:
    """Call a function in a fresh process as a stage's command is run, and wait for it: see :func:`run_all_apart`."""
    return run_all_apart([(function, arguments)])[0]


def run_all_apart(calls: Sequence[tuple[Callable[..., None], tuple]]) -> list[int]:
    """Call functions at once, each in a fresh process as a stage's command is run, and wait for all.

    Ctrl-C and SIGTERM are handed on as SIGTERM; the processes end as by SIGTERM also when this one dies, or when one of
    them ends with another status than 0.

    Args:
        calls: functions of a module's top level, and their arguments, which are pickled.

    Returns:
        The exit status of each, as :func:`pipelines.command.run` makes it; negative if a signal killed it.

    Raises:
        Interrupted: this process was asked to end; the others have ended.
    """
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_inside, args=call) for call in calls]
    asked = []

    def end_all() -> None:
        for process in processes:
            if process.is_alive():
                process.terminate()

    def hand_on(number: int, frame: object) -> None:
        asked.append(number)
        end_all()

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for process in processes:
            process.start()
        waiting = {process.sentinel: process for process in processes}
        while waiting:
            for sentinel in multiprocessing.connection.wait(list(waiting)):
                process = waiting.pop(sentinel)
                process.join()
                if process.exitcode:
                    end_all()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise command.Interrupted(asked[0])
    return [process.exitcode for process in processes]


def _inside(function: Callable[..., None], arguments: tuple) -> None:
    os.setsid()  # a terminal sends Ctrl-C to all of a session; this process is to get it once, from its parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    command.main(lambda _: function(*arguments))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
