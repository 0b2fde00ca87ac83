"""The one kind of error that a user's input can cause, and what can be said of others."""

import errno
import re

ENVIRONMENT_ERRORS = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT, errno.EFBIG}
"""Faults of the machine that its user can mend: full disks and missing permissions."""


class BadInput(Exception):  # noqa: N818 - it is raised for what a user gave, it does not report a fault of ours
    """Input that can't be used. Its text is one line: what is wrong, where, and what to do.

    Every command prints it as ``error: …`` and ends with status 2.
    """

    def __init__(self, what: str, where: object = "", do: str = "") -> None:
        parts = [str(part) for part in (where, what) if str(part)]
        self.found, self.do = (" ".join(without_passwords(text).split()) for text in (": ".join(parts), do))
        super().__init__(self.found + (f"; {self.do}" if self.do else ""))


def reason(error: BaseException) -> str:
    """An exception's text on one line, or its class where it has none; at most 300 characters."""
    text = " ".join(without_passwords(str(error)).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def without_passwords(text: str) -> str:
    """A text without users and passwords of the addresses in it: of a store, of a proxy."""
    return re.sub(r"\b([A-Za-z][\w+.-]*://)[^\s/@]*@", r"\1", text)


def disk_fault(error: OSError) -> str:
    """What is wrong with the disk or its permissions; empty where an error is about something else."""
    if error.errno in ENVIRONMENT_ERRORS:
        return error.strerror
    # NumPy keeps to itself why it could not write all of an array.
    short = error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error))
    return f"no space, {error}" if short else ""
