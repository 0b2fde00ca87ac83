"""What every stage's command has in common: its errors, its exit status, its parsing."""

from __future__ import annotations

import atexit
import gc
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TextIO

from data.errors import BadInput, disk_fault, reason

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's remarks on its own build
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # MLflow's progress at making its database
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it would reach for a network that may not be there
}
"""Read when those libraries are imported, so it is set before that."""

TRANSFER = "transfer"
"""Name under which transfers are recorded; they have a stage of their own."""

GARBAGE = 10_000
"""New objects after which Python looks for unused ones; its own 700 cost a short run, and every import, a tenth."""

CHATTY = os.environ.get("TF_CPP_MIN_LOG_LEVEL") in ("0", "1")
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)


class RunFailed(Exception):  # noqa: N818
    """A run that can't go on; its text says why and what to do. The run is marked FAILED, the status is 1."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or SIGTERM from a scheduler that wants the machine back."""

    def __init__(self, number: int, line: str = "interrupted") -> None:
        super().__init__(line)
        self.number = number
        self.status = 128 + number


@contextmanager
def interrupted_with(line: str) -> Iterator[None]:
    """Let an interrupt say a line, mostly how to go on; Ctrl-C may come where nothing hands signals on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(getattr(error, "number", signal.SIGINT), line) from None


def _terminated(number: int, frame: object) -> None:
    raise Interrupted(number)


def making(recipe: str) -> str:
    """The command that trains a recipe of this name."""
    return "make transfer" if recipe == TRANSFER else f"make train-{recipe}"


def main(stage: Callable[[list[str]], None]) -> None:
    """Run a stage on the command line's arguments and end the process with the status of :func:`run`.

    Its end is quick: taking TensorFlow's modules apart one by one would take the interpreter 2 to 4 seconds.
    """
    status = 1  # of what nobody caught

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(status)

    atexit.register(leave)  # before all libraries register what they have to do, so it comes after that
    status = run(stage, sys.argv[1:])
    sys.exit(status)


def run(stage: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run a stage and return the status that its process is to end with; errors become one line on standard error.

    0: done. 1: a run failed. 2: input that can't be used. 130: Ctrl-C. 143: SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminated)
    gc.set_threshold(GARBAGE)
    _complete_streams()
    line, status = "", 0
    try:
        stage(arguments)
        sys.stdout.flush()
    except SystemExit as end:  # help, or a flag that can't be parsed
        status = end.code or 0
    except BrokenPipeError:  # nobody reads the rest of a listing: what a shell makes of SIGPIPE
        silence(sys.stdout)
        status = 128 + signal.SIGPIPE
    except BadInput as error:
        line, status = f"error: {error}", 2
    except RunFailed as error:
        line, status = f"failed: {reason(error)}", 1
    except KeyboardInterrupt as error:
        line, status = str(error) or "interrupted", getattr(error, "status", 130)
    except OSError as error:
        fault = disk_fault(error)
        if not fault:
            raise
        line, status = f"error: {error.filename or 'disk'}: {fault}; free space or permissions", 2
    _say_last(line)
    return status


def _say_last(line: str) -> None:
    for stream, text in ((sys.stdout, ""), (sys.stderr, line and line + "\n")):
        try:
            print(text, end="", file=stream, flush=True)
        except OSError:  # nobody reads it, or it goes to a full disk
            silence(stream)


def silence(stream: TextIO) -> None:
    """Let a stream that nobody reads any more take what is written to it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _complete_streams() -> None:
    """Make sure that output has somewhere to go, and that no path is too strange for it.

    Where a stream is closed, as by ``>&-``, the next file that is opened, a database say, would get its number and
    all that a library writes there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:
                pass
            setattr(sys, name, open(opened, "w" if number else "r"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def warn_of_strangers(host: str, where: str) -> None:
    """Say on standard error that a server listens at an address that other machines may reach."""
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = host == "localhost"
    if not inside:
        line = f"warning: {where}: everybody who reaches this machine there can use it; there is no password"
        print(line, file=sys.stderr, flush=True)


@contextmanager
def muted() -> Iterator[None]:
    """Drop what is written to standard error, below Python too: TensorFlow speaks there before it reads its level."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def without_jax() -> Iterator[None]:
    """Import what imports JAX, too, wherever it is installed, half a second and 100 MB, if Keras does not run on it."""
    hidden = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" and "jax" not in sys.modules
    if hidden:
        sys.modules["jax"] = None
    try:
        yield
    finally:
        if hidden:
            del sys.modules["jax"]


@contextmanager
def importing() -> Iterator[None]:
    """Import Keras with its backend, and what needs it: quickly, and quietly unless TF_CPP_MIN_LOG_LEVEL is 0 or 1.

    Without looking for garbage among what is there to stay, TensorFlow takes a fifth less time.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)  # Grain regrets that it has no profiler of JAX
    if not CHATTY:  # a report asks several networks once each, of which TensorFlow warns at length
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    gc.disable()
    try:
        with nullcontext() if CHATTY else muted(), without_jax():
            yield
    finally:
        gc.freeze()
        gc.enable()


def start_backend(together: bool = False) -> None:
    """Import Keras with its backend and let it look for devices: see :func:`importing`.

    Args:
        together: with the other hosts, where the environment names some.

    Raises:
        BadInput: KERAS_BACKEND names none, or one that is not installed; the hosts do not meet.
    """
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    try:
        with importing():
            from pipelines.fitting import devices, replicas

            if together:
                replicas.meet()
            devices.gpus()
    except ModuleNotFoundError as error:
        raise BadInput(f"needs {error.name}, which is not installed", f"KERAS_BACKEND={name}", "install it") from None
    except ValueError as error:
        raise BadInput(reason(error), f"KERAS_BACKEND={name}", "take tensorflow, jax or torch") from None


def parse(kind: type, arguments: list[str], program: str, description: str, default: object = None) -> object:
    """Parse arguments into a dataclass by tyro; prints help or the wrong flag and ends where it must."""
    import tyro

    settings = (tyro.conf.AvoidSubcommands,)
    extra = {} if default is None else {"default": default}
    return tyro.cli(kind, prog=program, description=description, args=arguments, config=settings, **extra)


def choose(arguments: list[str], known: dict[str, str], usage: str, kind: str) -> tuple[str, list[str]]:
    """Split off the first argument, which names one of the known things; without it, print them and end.

    Raises:
        BadInput: the name is not known.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, known))
        listing = "\n".join(f"  {name:{width}}  {text}" for name, text in known.items())
        print(f"{usage}\n{kind}s:\n{listing}\n\nAll flags of one: its name, then --help")
        sys.exit(0 if arguments else 2)
    if arguments[0] not in known:
        raise BadInput(f"no such {kind}", arguments[0], f"there are {', '.join(known)}")
    return arguments[0], arguments[1:]
