"""Recording a run: everything goes to its journal first, and from there to MLflow."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.errors import reason
from pipelines.command import RunFailed
from pipelines.tracking import begun, environment, journal, load, outbox, store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from rich.console import Console

    from pipelines.tracking.recorded import Recorded


class Run:
    """A run that is being recorded."""

    def __init__(self, records: journal.Journal) -> None:
        self.journal = records
        header = records.header
        self.id, self.name, self.experiment = header["id"], header["name"], header["experiment"]

    @property
    def folder(self) -> Path:
        """Where its journal lies, and whatever else a continued run needs."""
        return self.journal.folder

    def has(self, kind: str, **content: object) -> bool:
        """Whether there is a record of this kind with this content."""
        wanted = {"kind": kind, **content}.items()
        return any(wanted <= record.items() for record in self.journal.records if record["kind"] == kind)

    def metrics(self, values: Mapping[str, float], step: int = 0, at: float | None = None) -> None:
        """Record metrics: by epoch from 1, or final ones, which MLflow compares as bars if all have the step 0.

        Args:
            values: by name.
            step: each metric is recorded once for each.
            at: seconds since 1970, where they were not measured now.
        """
        self.journal.metrics(values, step, at)

    def params(self, values: Mapping[str, object]) -> None:
        """Record parameters."""
        self.journal.append("params", values={name: str(value) for name, value in values.items()})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.journal.append("tags", values=dict(values))

    def figures(self, figures: Mapping[str, Figure]) -> None:
        """Record figures as ``figures/NAME.png``."""
        for name, figure in figures.items():
            _draw(figure, self._artifact(f"figures/{name}.png"))
            self.journal.append("artifact", path=f"figures/{name}.png")

    def images(self, figures: Mapping[str, Figure], step: int) -> None:
        """Record figures of an epoch, where MLflow's page of a run lets one choose the step; named as its client does.

        A continued run writes over what it recorded of the epoch before.
        """
        from PIL import Image

        for name, figure in figures.items():
            at = int(1000 * (self.journal.header["started"] + step))  # part of the name, which has to stay the same
            known = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id}/{name}/{step}")
            path = f"images/{name}+step+{step}+timestamp+{at}+{known}"
            _draw(figure, self._artifact(f"{path}.png"))
            with Image.open(self._artifact(f"{path}.png")) as image:
                image.convert("RGB").save(self._artifact(f"{path}+compressed.webp"))
            for ending in (".png", "+compressed.webp"):
                self.journal.append("artifact", path=path + ending)
        if figures:
            self.tags({"mlflow.loggedImages": "True"})

    def tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Record tables as ``NAME.parquet``."""
        for name, table in tables.items():
            table.to_parquet(self._artifact(f"{name}.parquet"), index=False)
            self.journal.append("artifact", path=f"{name}.parquet")

    def text(self, name: str, text: str) -> None:
        """Record a text file."""
        self._artifact(name).write_text(text, encoding="utf-8")
        self.journal.append("artifact", path=name)

    def _artifact(self, path: str) -> Path:
        place = self.folder / "artifacts" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def dataset(self, manifest: Mapping[str, object]) -> None:
        """Name the training data."""
        kept = {key: manifest[key] for key in ("name", "origin", "source", "sha256")}
        self.journal.append("dataset", manifest=kept)

    def source(self, run: str) -> None:
        """Link the run to that of this id, whose model it begins from."""
        self.journal.append("source", run=run)

    def model_folder(self) -> Path:
        """An empty folder for the servable that :meth:`model` then records."""
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        place = self.folder / "model" / "servable"
        place.mkdir(parents=True)
        return place

    def model(self, example: np.ndarray, output: np.ndarray) -> None:
        """Record the servable in :meth:`model_folder` as ``model``, with the signature of a real input and output."""
        environment.complete_model(self.folder / "model", example, output)
        self.complete_model()

    def complete_model(self) -> None:
        """Record what lies in :meth:`model_folder`, and has been completed there, as ``model``."""
        self.journal.append("model")
        self.tags({"model": "recorded"})

    def final(self) -> dict[str, float]:
        """The metrics at the end."""
        records = (record for record in self.journal.records if record["kind"] == "metrics" and not record["step"])
        return {name: value for record in records for name, value in record["values"].items()}

    def status(self, status: str) -> None:
        """Record that the run is RUNNING, FINISHED, FAILED or KILLED now."""
        self.journal.append("status", status=status)


def _draw(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; its own savefig draws it twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).print_png(path)


@contextmanager
def start(
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    params: Mapping[str, object],
    header: Mapping[str, object],
    console: Console,
) -> Iterator[Run]:
    """Record what happens inside as one new run: FINISHED, FAILED with its reason, or KILLED when interrupted.

    Args:
        experiment: the dataset's name.
        name: the run's.
        tags: those of the code are added.
        params: flat.
        header: what continuing it will need.
        console: is told of a store that goes away.

    Raises:
        BadInput: the store or the folder of unfinished runs can't be written.
    """
    from mlflow.tracking.context.registry import resolve_tags

    client = store.connect()
    place = store.unfinished()
    with store.writable(place), store.faults():
        place.mkdir(parents=True, exist_ok=True)
        store.patiently(lambda: begun.end_lost(client, place))
        began = time.time()
        number = store.patiently(lambda: store.experiment(client, experiment))
        with begun.noted(place) as mark:
            tags = resolve_tags({**tags, **environment.code_tags(), begun.TAG: mark})
            made = store.patiently(lambda: client.create_run(number, int(began * 1000), tags, name))
            known = {"id": made.info.run_id, "name": name, "experiment": experiment, "store": store.public(store.uri())}
            header = {**known, "started": began, "tags": tags, "params": dict(params), **header}
            try:
                journal.create(place / made.info.run_id, header)
            except OSError:
                client.delete_run(made.info.run_id)  # nobody could go on with it, or even end it
                raise
    with _recording(place / made.info.run_id, console) as run:
        yield run


@contextmanager
def resume(folder: Path, console: Console) -> Iterator[Run]:
    """Go on recording a run whose process has ended."""
    store.connect()
    with _recording(folder, console) as run:
        run.status("RUNNING")
        failures = [r["values"]["failure"] for r in run.journal.records if "failure" in r.get("values", {})]
        if failures:
            run.tags({"failure": f"overcome: {failures[-1].removeprefix('overcome: ')}"})
        yield run


@contextmanager
def append(recorded: Recorded, console: Console) -> Iterator[Run]:
    """Write more into a run that has ended; its state stays as it is."""
    folder = store.unfinished() / recorded.id
    with store.writable(folder):
        if not (folder / journal.HEADER).exists():
            known = {"id": recorded.id, "name": recorded.name, "experiment": recorded.experiment}
            known |= {"store": store.public(store.uri()), "started": time.time(), "continues": False}
            journal.create(folder, known)
        records = journal.Journal(folder)
    sender = outbox.Outbox(records, console)
    sender.start()
    try:
        yield Run(records)
    finally:
        _close(records, sender, console, outbox.PATIENCE, done=True)


@contextmanager
def _recording(folder: Path, console: Console) -> Iterator[Run]:
    """Send the journal while the block runs, and record how it ended."""
    with store.writable(folder):
        records = journal.Journal(folder)
    run, sender = Run(records), outbox.Outbox(records, console)
    watch = load.Load(run)
    sender.start()
    watch.start()
    try:
        if not run.has("params"):  # a process may have been killed before
            run.params(records.header["params"])
        if not run.has("artifact", path="environment.txt"):
            run.text("environment.txt", environment.versions())
        yield run
        watch.stop()
        run.status("FINISHED")
    except BaseException as error:
        watch.stop()
        with suppress(OSError):  # on a full disk the reason can't be recorded; it is what its user is told
            _record_end(run, error)
        # What failed by its own numbers would fail again, so there is nothing to continue.
        done = isinstance(error, RunFailed) or not records.header.get("continues")
        _close(records, sender, console, outbox.PATIENCE / 3, done)
        raise
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    _close(records, sender, console, outbox.PATIENCE, done=True)


def _record_end(run: Run, error: BaseException) -> None:
    if not isinstance(error, KeyboardInterrupt):
        run.tags({"failure": reason(error)})
    run.status("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


def _close(records: journal.Journal, sender: outbox.Outbox, console: Console, patience: float, done: bool) -> None:
    """Send the rest; remove the folder if all has arrived and nobody will go on from it."""
    arrived = sender.close(patience)
    if not arrived:
        count = len(records.records) - records.sent
        console.print(
            f"{store.public(store.uri())}: {sender.fault}; {count} records of {records.header['name']} wait in "
            f"{records.folder}: make sync sends them",
            style="bold red",
            soft_wrap=True,
        )
    if arrived and done:
        journal.remove(records.folder)
    records.release()
