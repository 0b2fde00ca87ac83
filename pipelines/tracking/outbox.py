"""Sending a run's journal to the MLflow store, in the background and again until it has arrived.

Sending something twice leaves one of it: a metric's key holds its time, step and value, parameters and tags are set to
what they are, files are written over. Of the rest, what the store already has is looked up first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import groupby, islice
from typing import TYPE_CHECKING

from pipelines.tracking import environment, store

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.tracking.journal import Journal

BATCH = 100
"""Records that are sent together; MLflow takes at most 1,000 metrics, 100 tags and 100 parameters at once."""

WAITS = (0.5, 1, 2, 5, 10, 30)
"""Seconds before the next attempts while a store is away; the last one again and again."""

SAID_AFTER = 3
"""Failures in a row that its user is told of: a database that another process has locked is back by then."""

PATIENCE = 15.0
"""Seconds for which the end of a run waits for a store that is away."""


class Outbox(threading.Thread):
    """Sends records as they are written; training never waits for it."""

    def __init__(self, journal: Journal, console: Console) -> None:
        super().__init__(name="outbox", daemon=True)
        self.journal, self.console = journal, console
        self.client = store.client()
        self.fault = ""
        """Why the last attempt failed; empty when it did not."""
        self.refused = False
        """Whether the store is there and won't have the records: of a deleted run, say."""
        self._ending = self._given_up = False

    def run(self) -> None:
        """Send until the run has ended and all is sent, or its end can't wait any longer."""
        failures = 0
        while self._wait_for_records():
            try:
                send_some(self.journal, self.client)
            except Exception as error:  # whatever the store's client raises: the journal keeps it all
                failures += 1
                self._failed(error, failures)
            else:
                if failures >= SAID_AFTER:
                    self._say("takes records again")
                failures, self.fault, self.refused = 0, "", False

    def _wait_for_records(self) -> bool:
        journal = self.journal
        with journal.changed:
            journal.changed.wait_for(lambda: len(journal.records) > journal.sent or self._ending)
            return len(journal.records) > journal.sent and not self._given_up

    def _failed(self, error: Exception, failures: int) -> None:
        self.fault = store.plain(error)
        # Never for good: a proxy may say so while the server starts, and a deleted run can be restored.
        self.refused = failures >= SAID_AFTER and store.refuses(error)
        if failures == SAID_AFTER:
            self._say(f"{self.fault}; training goes on, records wait in {self.journal.folder}")
        if self._ending:
            time.sleep(WAITS[0])
        else:
            with self.journal.changed:
                wait = WAITS[min(failures, len(WAITS)) - 1]
                self.journal.changed.wait_for(lambda: self._ending, timeout=wait)

    def _say(self, what: str) -> None:
        self.console.print(f"{store.public(store.uri())}: {what}", soft_wrap=True)

    def close(self, patience: float) -> bool:
        """Send what is left, waiting so many seconds for a store that is away; whether all has arrived."""
        journal = self.journal
        with journal.changed:
            self._ending = True
            journal.changed.notify_all()
        progress, deadline = journal.sent, time.monotonic() + patience
        while self.is_alive():
            self.join(0.05)
            if journal.sent != progress or not self.fault:
                progress, deadline = journal.sent, time.monotonic() + patience
            elif self.refused or time.monotonic() > deadline:
                self._given_up = True
                break
        return journal.sent == len(journal.records)


def send_all(journal: Journal) -> None:
    """Send what is left of a journal, now.

    Raises:
        Exception: whatever the store's client raises.
    """
    client = store.client()
    while journal.sent < len(journal.records):
        send_some(journal, client)


def send_some(journal: Journal, client: object) -> None:
    """Send the next few records and note that they have arrived."""
    waiting = journal.records[journal.sent : journal.sent + BATCH]
    for kind, together in groupby(waiting, key=lambda record: record["kind"]):
        records = list(together)
        SENDERS[kind](journal, client, records)
        journal.confirm(journal.sent + len(records))


def _send_metrics(journal: Journal, client: object, records: list[dict]) -> None:
    from mlflow.entities import Metric

    metrics = (
        Metric(name, value, int(record["at"] * 1000), record["step"])
        for record in records
        for name, value in record["values"].items()
    )
    for batch in _batches(metrics, 1000):
        client.log_batch(journal.header["id"], metrics=batch)


def _send_params(journal: Journal, client: object, records: list[dict]) -> None:
    from mlflow.entities import Param

    params = (Param(name, str(value)) for record in records for name, value in record["values"].items())
    for batch in _batches(params, 100):
        client.log_batch(journal.header["id"], params=batch)


def _send_tags(journal: Journal, client: object, records: list[dict]) -> None:
    from mlflow.entities import RunTag

    latest = {name: value for record in records for name, value in record["values"].items()}
    for batch in _batches((RunTag(name, str(value)) for name, value in latest.items()), 100):
        client.log_batch(journal.header["id"], tags=batch)


def _batches(items: Iterator[object], size: int) -> Iterator[list]:
    while batch := list(islice(items, size)):
        yield batch


def _send_artifacts(journal: Journal, client: object, records: list[dict]) -> None:
    for path in dict.fromkeys(record["path"] for record in records):
        folder = path.rpartition("/")[0] or None
        client.log_artifact(journal.header["id"], str(journal.folder / "artifacts" / path), folder)


def _send_status(journal: Journal, client: object, records: list[dict]) -> None:
    run, last = journal.header["id"], records[-1]
    if last["status"] == "RUNNING":
        client.update_run(run, status="RUNNING")
    else:
        client.set_terminated(run, last["status"], int(last["at"] * 1000))


def _send_dataset(journal: Journal, client: object, records: list[dict]) -> None:
    """Name the training data in MLflow's own column, by our digest: its own covers only the first values."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    if client.get_run(journal.header["id"]).inputs.dataset_inputs:
        return
    manifest = records[-1]["manifest"]
    source = CodeDatasetSource({"origin": manifest["origin"], "source": manifest["source"]})
    data = MetaDataset(source, name=manifest["name"], digest=manifest["sha256"][:16])
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(journal.header["id"], [DatasetInput(data._to_mlflow_entity(), [context])])


def _send_source(journal: Journal, client: object, records: list[dict]) -> None:
    """Name the model that a run begins from as its input, and the run at the one that made it."""
    from mlflow.entities import LoggedModelInput
    from mlflow.exceptions import MlflowException

    run, origin = journal.header["id"], records[-1]["run"]
    try:
        models = client.get_run(origin).outputs.model_outputs
        client.set_tag(origin, f"transferred.{run}", journal.header["name"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return  # removed for good; its id stays a tag
    known = {given.model_id for given in client.get_run(run).inputs.model_inputs}
    new = [LoggedModelInput(model.model_id) for model in models if model.model_id not in known]
    if new:
        client.log_inputs(run, models=new)


def _send_model(journal: Journal, client: object, records: list[dict]) -> None:
    """Record ``model/`` as the run's model, step by step: each looks whether an earlier attempt has done it."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(journal.header["id"])
    linked = [output.model_id for output in run.outputs.model_outputs]
    model = next(iter(_models(client, run, linked)), None)
    if model is None:
        model = client.create_logged_model(run.info.experiment_id, name="model", source_run_id=run.info.run_id)
    if model.status != LoggedModelStatus.READY:
        with environment.saved_model(journal.folder / "model", run.info.run_id, model) as folder:
            client.log_model_artifacts(model.model_id, str(folder))
        if model.model_id not in linked:
            client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    # A server that hung may have done later what it was asked before: a second model, which nobody has filled.
    for other in _models(client, run, [model.model_id])[1:]:
        client.delete_logged_model(other.model_id)


def _models(client: object, run: object, first: list[str]) -> list:
    """The run's models in the store, those of these ids first, then the oldest."""
    found = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    ours = [model for model in found if model.name == "model"]
    return sorted(ours, key=lambda model: (model.model_id not in first, model.creation_timestamp, model.model_id))


SENDERS = {
    "metrics": _send_metrics,
    "params": _send_params,
    "tags": _send_tags,
    "artifact": _send_artifacts,
    "status": _send_status,
    "dataset": _send_dataset,
    "source": _send_source,
    "model": _send_model,
}
"""For each kind of record, what sends a few in a row."""
