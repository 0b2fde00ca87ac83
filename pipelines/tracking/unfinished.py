"""Runs that have not finished, or whose records have not all been sent."""

from __future__ import annotations

from pathlib import Path

from data.errors import BadInput
from pipelines.command import making
from pipelines.tracking import journal, outbox, store


def headers() -> dict[Path, dict]:
    """The folders of this store's runs that lie on this machine, and what each is; the newest first."""
    here = store.public(store.uri())
    return {folder: header for folder, header in journal.headers(store.unfinished()).items() if header["store"] == here}


def find(reference: str, recipe: str) -> Path:
    """The folder of an unfinished training.

    Args:
        reference: a run's id or name, or ``last``: the newest of the recipe that nobody is working at.
        recipe: the recipe's name.

    Raises:
        BadInput: there is none.
    """
    trainings = {
        folder: header for folder, header in headers().items() if header.get("continues") and not header.get("search")
    }
    if reference == "last":
        # A member of a group goes on with its group.
        mine = [f for f, header in trainings.items() if header["recipe_name"] == recipe and not header.get("group")]
        mine = [folder for folder in mine if not has_finished(folder) and not journal.is_open(folder)]
        if not mine:
            what = f"there is no unfinished run of {recipe} on this machine"
            raise BadInput(what, "RESUME=last", f"start one: {making(recipe)}")
        return mine[0]
    found = [folder for folder, header in trainings.items() if reference in (header["id"], header["name"])]
    if not found:
        what = f"no unfinished run of this id or name in {store.unfinished()}"
        raise BadInput(what, f"RESUME={reference}", "a run goes on where it was started, until it is finished")
    header = trainings[found[0]]
    if header["recipe_name"] != recipe:
        raise BadInput(f"is a run of {header['recipe_name']}", f"RESUME={reference}", making(header["recipe_name"]))
    if header.get("group"):
        raise BadInput("belongs to a group", f"RESUME={reference}", f"continue that: RESUME={header['group']}")
    if has_finished(found[0]):
        raise BadInput("has finished", f"RESUME={reference}", "make sync sends what has not arrived of it")
    return found[0]


def search(recipe: str, wanted: dict) -> Path | None:
    """The folder of an unfinished search for the hyperparameters of a recipe.

    Args:
        recipe: the recipe's name.
        wanted: what its header says of the search, all of it.

    Raises:
        BadInput: it is under way.
    """
    for folder, header in headers().items():
        if header.get("search") == wanted and header["recipe_name"] == recipe and not has_finished(folder):
            if journal.is_open(folder):
                what = "is under way in another process"
                raise BadInput(what, f"search {header['name']}", "wait for its end, or give another --search-seed")
            return folder
    return None


def members(group: str) -> list[Path]:
    """The folders of a group's unfinished runs."""
    return [folder for folder, header in headers().items() if header.get("group") == group]


def has_finished(folder: Path) -> bool:
    """Whether only the sending of a run's records is left to do."""
    return journal.read_status(folder) == "FINISHED"


def send(folder: Path) -> tuple[int, bool]:
    """Send what waits in a run's folder, and remove the folder if nobody will go on from it.

    A run whose process died without a word is recorded as KILLED when it was last heard of.

    Returns:
        The number of records sent, and whether the run can be continued.

    Raises:
        Exception: whatever the store's client raises.
    """
    records = journal.Journal(folder)
    try:
        continues = bool(records.header.get("continues"))
        started_here = records.header.get("continues") is not False  # else more was written into a run that had ended
        if started_here and records.status == "RUNNING":
            last = max((record["at"] for record in records.records), default=records.header["started"])
            records.append("status", status="KILLED", at=last)
        waiting = len(records.records) - records.sent
        outbox.send_all(records)
        continues = continues and records.status != "FINISHED"
        if not continues:
            journal.remove(folder)
        return waiting, continues
    finally:
        records.release()
