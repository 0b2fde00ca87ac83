"""What may come of a file that a stranger made: a line that says why it is refused, or a right answer; nothing else."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import strategies as st

from benchmarks.fuzzing.mutations import spoiled
from data.errors import BadInput

SECONDS = 10.0
"""That an example may take."""

MEMORY = 3 * 2**30
"""Bytes that all examples of a target may take beyond what is there before."""

REFUSED, ACCEPTED, CRASH, HANG, EXECUTION, WRONG = OUTCOMES = (
    "refused",
    "accepted",
    "crash",
    "hang",
    "execution",
    "wrong answer",
)


@dataclass(frozen=True)
class Seed:
    """A valid content that is spoiled, then finished."""

    content: bytes
    finish: Callable[[bytes], bytes] = bytes
    """Makes a file of it: packs it, or sets its checksums right."""
    exact: bool = False
    """It has checksums: what is read of it after all must be what was read before."""


@dataclass(frozen=True)
class Target:
    """A parser of ours, and what it is given."""

    name: str
    file: str
    """Name that the example gets."""
    read: Callable[[Path], object]
    seeds: Callable[[], Sequence[Seed]]
    check: Callable[[object], bool]
    """Whether a result has the form that results must have."""
    hostile: st.SearchStrategy[bytes] = field(default_factory=st.nothing)
    """Contents that were made to do harm."""
    bounded: bool = True
    """Its process gets no more than MEMORY."""


class Hung(BaseException):
    """An example takes too long; no parser may catch this."""


@dataclass
class Guard:
    """Notes, and keeps from happening, what no parser has to do. Python lets nobody take off its hook again."""

    place: Path
    """Where files may be written."""
    noted: list[str] = field(default_factory=list)
    watching: bool = False

    FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn")
    FORBIDDEN += ("socket.bind", "ctypes.dlopen", "os.kill", "webbrowser.open")
    CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate")

    def install(self) -> None:
        """Watch from now on, while ``watching``."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.watching or not self._is_forbidden(event, arguments):
            return
        self.noted.append(f"{event} {arguments}"[:300])
        raise PermissionError(f"{event} while a file is read")

    def _is_forbidden(self, event: str, arguments: tuple) -> bool:
        if event == "exec":  # importing a module executes its code, which lies in a file
            return not os.path.isfile(arguments[0].co_filename) and "frozen" not in arguments[0].co_filename
        if event == "open":
            return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and self._is_elsewhere(arguments[0])
        if event == "socket.connect":  # but to the server that is asked
            return arguments[1][0] != "127.0.0.1"
        return event in self.FORBIDDEN or (event in self.CHANGES and self._is_elsewhere(arguments[0]))

    def _is_elsewhere(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False  # a number of a file that is open already
        text = os.fsdecode(path)
        return not text.startswith((str(self.place), os.devnull)) and "__pycache__" not in text


def judge(target: Target, path: Path, wanted: object, guard: Guard | None) -> tuple[str, str]:
    """The outcome of reading one file, and what there is to say of it."""
    began = time.monotonic()
    if guard:
        guard.noted.clear()
        guard.watching = True
    try:
        with alarm(SECONDS):
            found = target.read(path)
            outcome, why = ACCEPTED, ""
            if not target.check(found):
                outcome, why = WRONG, f"has another form: {found!r}"[:500]
            elif wanted is not None and as_bytes(found) != wanted:
                outcome, why = WRONG, f"differs from what was read before: {found!r}"[:500]
    except BadInput as error:
        names_it = path.name in str(error) or target.name in NAMELESS
        outcome, why = (REFUSED, str(error)) if names_it and "\n" not in str(error) else (CRASH, f"says {error}")
    except Hung:
        outcome, why = HANG, traceback.format_exc()
    except BaseException:
        outcome, why = CRASH, traceback.format_exc()
    finally:
        if guard:
            guard.watching = False
    if time.monotonic() - began > 1.5 * SECONDS:
        outcome, why = HANG, f"{time.monotonic() - began:.0f} s in one call"
    return (EXECUTION, "; ".join(guard.noted)) if guard and guard.noted else (outcome, why)


NAMELESS = {"recipe.json", "base64", "requests, images", "requests, text"}
"""Targets whose inputs are no files of their own."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise Hung after so many seconds."""

    def ring(number: int, frame: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def as_bytes(value: object) -> bytes:
    """What two equal results have in common."""
    return pickle.dumps(value, 5) if not isinstance(value, np.ndarray) else pickle.dumps((value.dtype, value.tolist()))


def examples(target: Target, place: Path) -> st.SearchStrategy[tuple[bytes, bytes | None]]:
    """Contents, and the bytes of what must be read from each, where that is known."""
    strategies = [target.hostile.map(lambda content: (content, None))]
    for seed in target.seeds():
        path = place / target.file
        path.write_bytes(seed.finish(seed.content))
        found = target.read(path)
        assert target.check(found), f"{target.name}: {found!r}"
        wanted = as_bytes(found) if seed.exact else None
        strategies.append(
            spoiled(seed.content).map(lambda content, seed=seed, wanted=wanted: (seed.finish(content), wanted))
        )
    return st.one_of(strategies)


def fuzz(target: Target, place: Path, count: int, number: int, guard: Guard | None = None) -> tuple[Counter, list[str]]:
    """Try so many examples, drawn by a seed; gives the number of each outcome, and what is to be said of bad ones."""
    outcomes, faults = Counter(), []
    path = place / target.file

    @hypothesis.seed(number)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(examples(target, place))
    def one(example: tuple[bytes, bytes | None]) -> None:
        content, wanted = example
        path.write_bytes(content)
        outcome, why = judge(target, path, wanted, guard)
        outcomes[outcome] += 1
        if outcome not in (REFUSED, ACCEPTED):
            kept = place / f"{outcome.replace(' ', '-')}-{len(faults)}-{number}"
            kept.write_bytes(content)
            faults.append(f"{target.name}: {outcome}: {kept}\n{why}")

    one()
    return outcomes, faults


def bound_memory() -> None:
    """Let this process have so much and no more."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
