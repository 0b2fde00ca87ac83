"""Where runs are recorded."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from data.errors import BadInput, reason

ROOT = Path(__file__).resolve().parents[2]


EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets MLflow open its pages for training runs, not those for language models."""


def uri() -> str:
    """MLFLOW_TRACKING_URI where it is set, else the database in ``mlruns/``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ROOT / 'mlruns' / 'mlflow.db'}"


def connect() -> object:
    """Point MLflow to the store, make the database where there is none, and return a client.

    Raises:
        BadInput: the store can't be reached or written.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback beside what it raises
    # The library's defaults wait for minutes on a server that is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    import mlflow

    try:
        with faults():
            mlflow.set_tracking_uri(uri())
            # Left unset, every client of MLflow's looks for Spark anew: an import in each call and each thread, and
            # an interrupt within an import can leave the interpreter's import lock taken for good.
            mlflow.set_registry_uri(uri())
            client = mlflow.MlflowClient()
            if uri().startswith("sqlite:"):
                _create(client)
            else:
                client.search_experiments(max_results=1)
            return client
    except BadInput:
        raise
    except Exception as error:  # each kind of store raises its own where its address makes no sense
        raise BadInput(_plain(error), public(uri()), "check MLFLOW_TRACKING_URI") from None


@contextmanager
def faults() -> Iterator[None]:
    """Turn what MLflow and SQLAlchemy raise when a store fails into one line that names the store."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        do = "free space or permissions there, start that server, or change MLFLOW_TRACKING_URI"
        raise BadInput(_plain(error), public(uri()), do) from None


def public(address: str) -> str:
    """An address without the user and password it may hold."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else address


def _plain(error: Exception) -> str:
    text = reason(error)
    if "Max retries exceeded" in text or "Connection refused" in text or "timed out" in text:
        return "can't be reached"
    text = text.partition(" (Background on this error")[0]
    return f"can't be used: {re.sub(r'//[^/@ ]*@', '//', text)}"


def database() -> Path:
    """The file of a SQLite store."""
    return Path(uri().removeprefix("sqlite:///"))


def _create(client: object) -> None:
    """Make and migrate the database, one process at a time: MLflow's own first migration is a race."""
    from filelock import FileLock

    path = database()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            client.search_experiments(max_results=1)
    except OSError as error:
        raise BadInput(f"can't be written ({error.strerror})", path.parent, "free space or permissions") from None
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
