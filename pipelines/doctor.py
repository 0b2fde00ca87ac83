"""Look at this machine: versions, devices, precision, store, disk, data; with advice for each thing that is off.

usage: python -m pipelines.doctor [--json]

--json prints one object for machines. Nothing is downloaded, and nothing changed but this: --precision auto takes from
now on what was measured to be faster. Ends with status 2 where something
is broken, so that commands that need it can't work; with 0 where there is advice at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.checkup.finding import Finding

STYLES = {"ok": "green", "advice": "yellow", "broken": "bold red"}


def main(arguments: list[str]) -> None:
    """Carry out all checks and show what they found."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return
    if arguments not in ([], ["--json"]):
        raise BadInput("is not understood", " ".join(arguments), "give --json or nothing")
    from rich.console import Console

    from pipelines import reports

    begin = time.perf_counter()
    with Console(stderr=True).status("") as status:
        findings = look(lambda doing: status.update(f"{doing} …"))
    seconds = time.perf_counter() - begin
    if arguments:
        states = {finding.state for finding in findings}
        worst = next(state for state in reversed(STYLES) if state in states)
        plain = [finding.plain() for finding in findings]
        print(reports.as_json({"state": worst, "seconds": round(seconds, 1), "findings": plain}))
    else:
        _show(findings, seconds, reports.console())
    broken = [finding.name for finding in findings if finding.broken]
    if broken:
        raise BadInput(f"broken: {', '.join(broken)}", "doctor", "see the advice above")


def look(say: Callable[[str], None]) -> list[Finding]:
    """What all checks find.

    Args:
        say: told what is being looked at.
    """
    from pipelines.checkup import finding, hardware, places, software, variables

    findings: list[Finding] = []

    def add(name: str, check: Callable[[], Iterable[Finding]], patience: float = finding.PATIENCE) -> None:
        say(name)
        findings.extend(finding.examine(name, check, patience))

    add("python", software.python)
    add("packages", lambda: software.packages(gpu=bool(hardware.seen_by_driver())))
    add("code", software.code)
    add("environment", variables.variables)
    add("memory", hardware.memory)
    add("backend", software.backend)
    if not findings[-1].broken:
        add("processor", hardware.processor)
        add("GPU", hardware.accelerators)
        add("computing", hardware.computing)
        add("precision", hardware.precision)
    add("store", places.store)
    add("unfinished runs", places.runs)
    add("disk", places.disk)
    add("data", partial(places.data, say), patience=3600.0)
    return findings


def _show(findings: list[Finding], seconds: float, console: Console) -> None:
    """A line for each finding, then a line for each advice."""
    from rich.table import Table

    table = Table(title=f"This machine, looked at in {seconds:.0f} s", title_justify="left")
    for column in ("what", "state", "found"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(finding.name, finding.state, finding.found, style=STYLES[finding.state])
    console.print(table)
    for finding in findings:
        if finding.advice:
            console.print(f"{finding.name}: {finding.advice}", soft_wrap=True)
    if not any(finding.advice for finding in findings):
        console.print("nothing is off")


if __name__ == "__main__":
    command.main(main)
