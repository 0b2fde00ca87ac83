"""What a check finds, also where it fails or never ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from data import parallel
from data.errors import BadInput, reason

PATIENCE = 120.0
"""Seconds after which a check is given up: TensorFlow's first import from a slow disk can take most of them."""


@dataclass(frozen=True)
class Finding:
    """One line of the check-up."""

    name: str
    """What was looked at."""
    found: str
    """In words."""
    data: dict[str, object] = field(default_factory=dict)
    """For machines."""
    advice: str = ""
    """What to do, where something is off."""
    broken: bool = False
    """Commands can't work like that."""

    @property
    def state(self) -> str:
        """One word: ok, advice or broken."""
        return "broken" if self.broken else "advice" if self.advice else "ok"

    def plain(self) -> dict[str, object]:
        """The finding for machines."""
        words = {"name": self.name, "state": self.state, "found": self.found, "advice": self.advice}
        return words | {"data": self.data}


def failed(name: str, error: Exception, advice: str = "mend that, then make doctor again") -> Finding:
    """The finding that something raised an error; a BadInput says itself what to do."""
    if isinstance(error, BadInput):
        return Finding(name, error.found, advice=error.do or advice, broken=True)
    return Finding(name, f"{type(error).__name__}: {reason(error)}", advice=advice, broken=True)


def examine(name: str, check: Callable[[], Iterable[Finding]], patience: float = PATIENCE) -> list[Finding]:
    """What a check finds, in a thread that is left behind when it does not come to an end.

    Args:
        name: of the finding, where the check fails.
        check: gives its findings.
        patience: seconds.
    """

    def look() -> list[Finding]:
        try:
            return list(check())
        except Exception as error:  # whatever a broken library or disk raises; the other checks go on
            return [failed(name, error)]

    try:
        return parallel.answer(look, patience)
    except parallel.NoAnswer:
        advice = "see whether a disk, a driver or a network there hangs"
        return [Finding(name, f"no answer in {patience:g} s", advice=advice, broken=True)]
