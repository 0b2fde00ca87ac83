"""Where runs are recorded."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from data.errors import BadInput, disk_fault, reason

ROOT = Path(__file__).resolve().parents[2]

Result = TypeVar("Result")

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow open its pages for training runs, not those for language models."""

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; the library's own 120 are long for the end of a run to wait
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # who asks again here looks first whether the last time has worked
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it shows a password in the address
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Of MLflow's client, where its user has not set them."""

AWAY = ("Max retries exceeded", "Connection refused", "timed out", "Connection aborted", "Connection reset")
"""What HTTP clients say of a server that is down, or goes down while it is asked."""


def uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, else the database in ``mlruns/``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ROOT / 'mlruns' / 'mlflow.db'}"


def unfinished() -> Path:
    """Where journals and checkpoints of unfinished runs lie; RUNS_FOLDER names another place than beside the runs."""
    beside = database().resolve().parent if uri().startswith("sqlite:") else ROOT / "mlruns"
    return Path(os.environ.get("RUNS_FOLDER") or beside / "unfinished")


def import_mlflow() -> None:
    """Import the seconds' worth of modules that :func:`connect` and recording need, for processes that are forked."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def connect() -> object:
    """Point MLflow to the store, make the database where there is none, and return a client.

    Raises:
        BadInput: the store can't be reached or written.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback beside what it raises
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    try:
        with faults():
            mlflow.set_tracking_uri(uri())
            # Left unset, every client of MLflow's looks for Spark anew: an import in each call and each thread, and
            # an interrupt within an import can leave the interpreter's import lock taken for good.
            mlflow.set_registry_uri(uri())
            if uri().startswith("sqlite:"):
                _create()
            client = mlflow.MlflowClient()
            patiently(lambda: client.search_experiments(max_results=1))
            return client
    except BadInput:
        raise
    except Exception as error:  # each kind of store raises its own where its address makes no sense
        raise BadInput(plain(error), public(uri()), "check MLFLOW_TRACKING_URI") from None


def client() -> object:
    """A client of the store; :func:`connect` was called before."""
    import mlflow

    return mlflow.MlflowClient()


@contextmanager
def faults() -> Iterator[None]:
    """Turn what MLflow and SQLAlchemy raise when a store fails into one line that names the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        do = "start that server" if uri().startswith("http") else "free space or permissions there"
        if "out-of-date database schema" in str(error):
            do = f"copy it, then bring it up to date: .venv/bin/mlflow db upgrade {public(uri())}"
        raise BadInput(plain(error), public(uri()), f"{do}, or change MLFLOW_TRACKING_URI") from None


@contextmanager
def writable(place: Path) -> Iterator[None]:
    """Turn a fault of the disk at a folder of unfinished runs into one line."""
    try:
        yield
    except OSError as error:
        do = "free space or permissions, or set RUNS_FOLDER to another folder"
        fault = disk_fault(error) or error.strerror or reason(error)
        raise BadInput(f"can't be written ({fault})", error.filename or place, do) from None


def patiently(ask: Callable[[], Result], seconds: float = 120.0) -> Result:
    """Ask the store, and again while another process has its database locked."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except Exception as error:  # MLflow wraps SQLAlchemy's own, or does not
            if "database is locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.05, 0.5))


def public(address: str) -> str:
    """An address without the user and password it may hold."""
    return re.sub(r"^([\w+.-]+://)(?!/).*@", r"\1", address)


def plain(error: Exception) -> str:
    """What a store's client raised, in a few words without a password."""
    text = re.split(r"\[SQL:|\(Background on this error", str(error).replace(uri(), public(uri())))[0]
    text = re.sub(r"//[^/\s]*@", "//", text)
    text = re.sub(r"^\(raised as a result of [^)]*\) ", "", text)
    answered = re.search(r"too many (\d+) error responses", text)
    if answered:
        return f"can't be used: it answers with HTTP status {answered[1]}"
    if any(words in text for words in AWAY):
        return "can't be reached"
    return f"can't be used: {reason(Exception(text.strip() or type(error).__name__))}"


def refuses(error: Exception) -> bool:
    """Whether a store is there and will not have what it was given: asking again does not help by itself."""
    status = getattr(getattr(error, "response", None), "status_code", None)  # of an artifact
    if status is None and hasattr(error, "get_http_status_code"):
        status = error.get_http_status_code()
    return status is not None and 400 <= status < 500 and status not in (408, 429)


def database() -> Path:
    """The file of a SQLite store."""
    return Path(uri().removeprefix("sqlite:///"))


def _create() -> None:
    """Make the database where there is none: one process at a time, and whole or not at all.

    MLflow's own way is a race between processes, and what a kill leaves of it nobody can use any more.
    """
    import mlflow
    from filelock import FileLock

    path = database()
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            if not path.exists():
                for left in path.parent.glob(draft.name + "*"):
                    left.unlink()
                mlflow.MlflowClient(f"sqlite:///{draft}").search_experiments(max_results=1)
                draft.replace(path)
    except OSError as error:
        do = "free space or permissions, or set MLFLOW_TRACKING_URI to another store"
        raise BadInput(f"can't be written ({error.strerror})", error.filename or path.parent, do) from None
    if not os.access(path, os.W_OK):
        raise BadInput("may not be written", path, "change its permissions")


def experiment(client: object, name: str) -> str:
    """The id of an experiment, made where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        local = uri().startswith("sqlite:")
        place = (database().resolve().parent / "artifacts" / name).as_uri() if local else None
        try:
            return client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise BadInput("is deleted", f"experiment {name}", "restore it in MLflow, or remove it for good")
    return found.experiment_id
