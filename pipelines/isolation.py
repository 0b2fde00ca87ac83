"""Running a function in a process of its own: what it does to memory or libraries ends with it."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver, reduction, resource_tracker
from multiprocessing.context import BaseContext

from pipelines import command

ASKED_TO_END = {signal.SIGINT, signal.SIGTERM}


@dataclass(frozen=True)
class Streams:
    """Standard output and error of this process, for another: a fork server has those of its start."""

    out: int = 1
    """Descriptor."""
    err: int = 2

    def __reduce__(self) -> tuple[Callable[..., Streams], tuple]:
        return _received, (reduction.DupFd(self.out), reduction.DupFd(self.err))


def _received(*descriptors: object) -> Streams:
    return Streams(*(one.detach() for one in descriptors))


def run_once(function: Callable[..., None], *arguments: object) -> int:
    """Call a function in a fresh process, as :func:`run_apart` does, where others are not likely to follow."""
    return _run(multiprocessing.get_context("spawn"), [(function, arguments)])[0]


def run_apart(function: Callable[..., None], *arguments: object) -> int:
    """Call a function in a process of its own as a stage's command is run, and wait for it: see :func:`run_all_apart`.

    The first call takes the seconds of an import of all libraries, and their memory until this process ends.
    """
    return run_all_apart([(function, arguments)])[0]


def run_all_apart(calls: Sequence[tuple[Callable[..., None], tuple]]) -> list[int]:
    """Call functions at once, each in a process of its own as a stage's command is run, and wait for all.

    Ctrl-C and SIGTERM are handed on as SIGTERM; the processes end as by SIGTERM also when this one dies, or when one of
    them ends with another status than 0.

    Args:
        calls: functions of a module's top level, and their arguments, which are pickled.

    Returns:
        The exit status of each, as :func:`pipelines.command.run` makes it; negative if a signal killed it.

    Raises:
        Interrupted: this process was asked to end; the others have ended.
    """
    return _run(fork_server(), calls)


def fork_server() -> BaseContext:
    """Where processes begin with all libraries imported, which they share: a short training takes 2.5 s, not 6.5.

    The server itself opens no device and has none of a backend's threads, so forking it is safe; but PyTorch looks for
    devices when Keras is imported, and macOS' own libraries do not survive a fork. It ends with the last process that
    knows it. Ctrl-C and SIGTERM, which may be sent to all processes at once, it leaves to the others.
    """
    if os.environ.get("KERAS_BACKEND") == "torch" or sys.platform == "darwin":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.preloaded"])
    resource_tracker.ensure_running()  # else it is started with the server, and unblocks signals
    searched, blocked = os.environ.get("PYTHONPATH"), signal.pthread_sigmask(signal.SIG_BLOCK, ASKED_TO_END)
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # Python 3.11 does not tell the server where modules are
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.environ.pop("PYTHONPATH")
        if searched is not None:
            os.environ["PYTHONPATH"] = searched
    return context


def make(
    context: BaseContext, streams: Streams, function: Callable[..., None], *arguments: object
) -> multiprocessing.Process:
    """A process that will call a function as a stage's command is run, with this process' environment of now."""
    return context.Process(target=_inside, args=(streams, dict(os.environ), function, arguments))


def _run(context: BaseContext, calls: Sequence[tuple[Callable[..., None], tuple]]) -> list[int]:
    processes = [make(context, Streams(), function, *arguments) for function, arguments in calls]
    asked = []

    def end_all() -> None:
        for process in processes:
            if process.is_alive():
                process.terminate()

    def hand_on(number: int, frame: object) -> None:
        asked.append(number)
        end_all()

    before = {number: signal.signal(number, hand_on) for number in ASKED_TO_END}
    try:
        for process in processes:
            process.start()
        if asked:  # before they were there to hear of it
            end_all()
        waiting = {process.sentinel: process for process in processes}
        while waiting:
            for sentinel in connection.wait(list(waiting)):
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


def _inside(streams: Streams, environment: dict[str, str], function: Callable[..., None], arguments: tuple) -> None:
    os.setsid()  # a terminal sends Ctrl-C to all of a session; this process is to get it once, from its parent
    for name, descriptor in (("stdout", streams.out), ("stderr", streams.err)):
        before = getattr(sys, name)  # made for another file, a disk's perhaps where this one is a pipe
        os.dup2(descriptor, before.fileno())
        setattr(sys, name, open(before.fileno(), "w", 1, before.encoding, closefd=False))  # noqa: SIM115
    os.environ.clear()
    os.environ |= environment
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED_TO_END)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        command.main(lambda _: function(*arguments))
    except SystemExit:
        atexit._run_exitfuncs()  # which forked processes leave out; it ends this one


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
