"""Who carries out a search's trials: its own process, workers that it starts beside it, or those of other machines."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines import command, isolation, preparation
from pipelines.tuning.plan import Plan, searched
from pipelines.tuning.trials import Asked
from pipelines.tuning.worker import Searched, tidy, work

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.tuning.search import Search

LOOPBACK = "127.0.0.1"


def make_trials(search: Search) -> None:
    """Carry out all trials: here, by workers of this machine, or by those of others."""
    plan = search.plan
    names = [f"worker{number}" for number in range(plan.workers)]
    from pipelines.tuning import service

    if service.role() == "chief":
        _serve(search)
    elif plan.workers == 1:
        search.oracle.employ(names)
        work(search, names[0], search.begin)
    else:
        search.oracle.employ(names)
        _employ(search, names)


def _facts(search: Search) -> dict[str, object]:
    known = {"group": search.run.id, "digest": search.plan.digest(), "sha256": search.splits.manifest["sha256"]}
    return {**known, "spent": search.spent()}


def _serve(search: Search) -> None:
    """Be the chief of workers that are started elsewhere."""
    from pipelines.tuning import service

    chief = service.Chief(search, partial(_facts, search), search.begin)
    ip, port = os.environ[service.IP], int(os.environ[service.PORT])
    with service.serving(chief, ip, port):
        command.warn_of_strangers(ip, f"{ip}:{port}")
        search.console.print(f"{search.run.name}: workers are awaited at {ip}:{port}", soft_wrap=True)
        service.wait_for_end(chief)


def _employ(search: Search, names: list[str]) -> None:
    """Start workers on this machine, and be their chief."""
    from pipelines.tuning import service

    chief = service.Chief(search, partial(_facts, search), search.begin)
    with service.serving(chief, LOOPBACK, service.ANY_PORT) as port:
        calls = [(_be_employed, (search.searched, name, port)) for name in names]
        statuses = isolation.run_all_apart(calls)
    if chief.fault:
        raise chief.fault
    worst = next((status for status in statuses if status not in (0, 143)), max(statuses))
    if worst > 128:
        raise command.Interrupted(worst - 128)
    if worst:
        raise BadInput(f"a worker ended with status {worst}", search.run.name, "give the same command again to go on")


def _be_employed(common: Searched, name: str, port: int) -> None:
    """In a worker's process, on the chief's machine."""
    command.start_backend()
    from pipelines.tracking import store
    from pipelines.tuning import service

    store.connect()
    os.environ |= {service.NAME: name, service.IP: LOOPBACK, service.PORT: str(port)}
    work(service.Client(), name, lambda _: common)


def work_for_chief(plan: Plan, console: Console) -> None:
    """Carry out trials for the chief whose address Keras Tuner's variables hold.

    Raises:
        BadInput: the chief searches something else, or on other data.
    """
    from pipelines.tracking import journal, store
    from pipelines.tuning import service

    store.connect()
    splits = preparation.load(plan.recipe, "", console)
    name = os.environ[service.NAME]
    where = f"{os.environ[service.IP]}:{os.environ[service.PORT]}"
    console.print(f"{name}: works for the chief at {where}", soft_wrap=True)

    places: set[Path] = set()

    def begin(asked: Asked) -> Searched:
        facts = service.facts(asked)
        mine = {"digest": plan.digest(), "sha256": splits.manifest["sha256"]}
        for key, what in (("digest", "another search"), ("sha256", "the search on other data")):
            if facts[key] != mine[key]:
                raise BadInput(f"the chief carries out {what}", where, "give all the same command, code and data")
        console.print(f"{name}: trial {asked.id}", soft_wrap=True)
        common = searched(plan, facts["group"], splits)
        places.add(common.place)
        tidy(common, facts["spent"])
        return common

    work(service.Client(), name, begin)
    for place in places:
        if not (place / journal.HEADER).exists():  # else it is also the chief's
            shutil.rmtree(place, ignore_errors=True)
