"""Whether the store works: asked and written to without leaving a trace."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from data.errors import BadInput, reason
from pipelines.command import making
from pipelines.tracking import journal, store, unfinished

PATIENCE = 20.0
"""Seconds to wait for another process that writes to the database."""


def check() -> str:
    """Ask the store and write to it; returns what was found, in words.

    Raises:
        BadInput: it can't be reached or written, is damaged, or is of another version of MLflow.
    """
    if not store.uri().startswith("sqlite:"):
        return f"answers; {_write_same(store.connect())}"
    path = store.database()
    if not path.exists():
        return "is not there yet: the first run makes it"
    _write_nothing(path)
    store.connect()
    return f"can be written, is whole and of this MLflow's version; {path.stat().st_size / 1e6:.1f} MB"


def _write_nothing(path: Path) -> None:
    """Change a SQLite database, take that back, and look for damage."""
    try:
        address = f"file:{quote(str(path))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE doctor (mark)")
            database.execute("ROLLBACK")
            damage = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        do = "free space or permissions, or end what holds it; or change MLFLOW_TRACKING_URI"
        raise BadInput(f"can't be written ({reason(error)})", path, do) from None
    except sqlite3.DatabaseError as error:
        damage = reason(error)
    if damage != "ok":
        raise BadInput(f"is damaged ({damage})", path, "put a copy in its place, or change MLFLOW_TRACKING_URI")


def _write_same(client: object) -> str:
    """Write a tag of ours again, as it is; returns what came of it.

    Raises:
        BadInput: it may not be written.
    """
    for experiment in client.search_experiments():
        for name, value in store.EXPERIMENT_TAGS.items():
            if experiment.tags.get(name) == value:
                with store.faults():
                    client.set_experiment_tag(experiment.experiment_id, name, value)
                return "can be written"
    return "no run is recorded there yet, so it was not written to"


def waiting() -> dict[str, str]:
    """By name, the runs on this machine that nobody works at and that wait to be continued or sent, and what to do.

    Raises:
        BadInput: what lies there can't be read.
    """
    found = {}
    for folder, header in unfinished.headers().items():
        if not journal.is_open(folder):
            found[header["name"]] = "make sync" if unfinished.has_finished(folder) else _again(header)
    return found


def _again(header: dict) -> str:
    """The command by which a run goes on."""
    name = header.get("recipe_name")
    if header.get("search") or header.get("trial") or not name:
        return "make sync"
    return f"{making(name)} RESUME={header.get('group') or header['id']}"
