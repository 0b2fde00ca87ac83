"""Recording a run, and finding recorded ones."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput, reason
from pipelines.tracking import store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

PACKAGES = ("data", "models", "pipelines")
"""Ours: their code is recorded with each model, so that a fresh process can load it."""


@dataclass(frozen=True)
class Run:
    """A run that is being recorded, or has been."""

    id: str
    name: str
    experiment: str

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Record metrics: by epoch from 1, or final ones, which MLflow compares as bars if all have the step 0."""
        import mlflow

        mlflow.log_metrics(dict(values), step=step, run_id=self.id)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        for name, value in values.items():
            _client().set_tag(self.id, name, value)

    def figures(self, figures: Mapping[str, Figure]) -> None:
        """Record figures as ``figures/NAME.png``."""
        with tempfile.TemporaryDirectory() as folder:
            for name, figure in figures.items():
                figure.savefig(Path(folder) / f"{name}.png")
            _client().log_artifacts(self.id, folder, "figures")

    def tables(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Record tables as ``NAME.parquet``."""
        with tempfile.TemporaryDirectory() as folder:
            for name, table in tables.items():
                table.to_parquet(Path(folder) / f"{name}.parquet", index=False)
            _client().log_artifacts(self.id, folder)

    def dataset(self, manifest: dict) -> None:
        """Name the training data in MLflow's own column, by our digest: its own covers only the first values."""
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        source = CodeDatasetSource({"origin": manifest["origin"], "source": manifest["source"]})
        data = MetaDataset(source, name=manifest["name"], digest=manifest["sha256"][:16])
        context = InputTag("mlflow.data.context", "training")
        _client().log_inputs(self.id, [DatasetInput(data._to_mlflow_entity(), [context])])

    def text(self, name: str, text: str) -> None:
        """Record a text file."""
        _client().log_text(self.id, text, name)

    def model(self, folder: Path, example: np.ndarray, output: np.ndarray) -> None:
        """Record a servable's folder as ``model``, with the signature of a real input and output."""
        import mlflow

        signature = mlflow.models.infer_signature(example, output)
        with tempfile.TemporaryDirectory() as code:
            mlflow.pyfunc.log_model(
                name="model",
                loader_module="pipelines.servable",
                data_path=str(folder),
                code_paths=_copy_code(Path(code)),
                signature=signature,
                input_example=example,
                pip_requirements=_requirements(),
            )
        self.tags({"model": "recorded"})

    def recipe(self) -> dict:
        """What ``recipe.json`` holds."""
        return self._json("recipe.json")

    def data(self) -> dict:
        """What ``data.json`` holds."""
        return self._json("data.json")

    def _json(self, name: str) -> dict:
        import mlflow

        try:
            return json.loads(mlflow.artifacts.load_text(f"runs:/{self.id}/{name}"))
        except Exception as error:
            raise BadInput(f"has no readable {name} ({reason(error)})", f"run {self.name}", "choose another") from None

    def load_model(self) -> object:
        """The recorded model as a :class:`pipelines.servable.Servable`."""
        import mlflow

        try:
            return mlflow.pyfunc.load_model(f"runs:/{self.id}/model").get_raw_model()
        except BadInput:
            raise
        except Exception as error:  # whatever its artifact store raises
            raise BadInput(f"holds no model ({reason(error)})", f"run {self.name}", "choose another") from None


def _client() -> object:
    import mlflow

    return mlflow.MlflowClient()


@contextmanager
def start(experiment: str, name: str, tags: Mapping[str, str], params: Mapping[str, object]) -> Iterator[Run]:
    """Record what happens inside as one run: FINISHED, FAILED with its reason, or KILLED when interrupted.

    Args:
        experiment: the dataset's name.
        name: the run's.
        tags: those of the code are added.
        params: flat.

    Raises:
        BadInput: the store can't be reached or written any more.
    """
    import mlflow

    client = store.connect()
    with store.faults():
        number = store.experiment(client, experiment)
        tags = {**tags, **_code_tags()}
        active = mlflow.start_run(experiment_id=number, run_name=name, tags=tags, log_system_metrics=True)
        run = Run(active.info.run_id, name, experiment)
        try:
            mlflow.log_params(params)
            run.text("environment.txt", environment())
            yield run
        except BaseException as error:
            with suppress(Exception):  # the store may be what failed; its state must not hide the reason
                if not isinstance(error, KeyboardInterrupt):
                    run.tags({"failure": reason(error)})
                mlflow.end_run("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        mlflow.end_run("FINISHED")


def find(reference: str) -> Run:
    """The run of this id or name, or ``last``: the newest FINISHED one that holds a model.

    Raises:
        BadInput: there is none, or several have this name.
    """
    from mlflow.exceptions import MlflowException

    client = store.connect()
    if re.fullmatch(r"[0-9a-f]{32}", reference):
        try:
            return _known(client, client.get_run(reference))
        except MlflowException:
            raise BadInput("no such run", reference, f"see make ui; the store is {store.public(store.uri())}") from None
    if reference == "last":
        condition = "attributes.status = 'FINISHED' and tags.model = 'recorded'"
    else:
        escaped = reference.replace("'", "''")
        condition = f"attributes.run_name = '{escaped}'"
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(numbers, condition, order_by=["attributes.start_time DESC"], max_results=2)
    if not found:
        what = "there is no finished run with a model" if reference == "last" else "no such run"
        raise BadInput(what, f"RUN={reference}", "give a run's id or name, see make ui")
    if reference != "last" and len(found) > 1:
        raise BadInput("is the name of several runs", f"RUN={reference}", "give its id, see make ui")
    return _known(client, found[0])


def _known(client: object, found: object) -> Run:
    name = client.get_experiment(found.info.experiment_id).name
    return Run(found.info.run_id, found.info.run_name, name)


def environment() -> str:
    """Python, platform and the versions of all installed packages."""
    versions = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    lines = [f"{name}=={versions[name]}" for name in sorted(versions, key=str.lower)]
    return "\n".join([f"# Python {platform.python_version()}, {platform.platform()}", *lines, ""])


def _requirements() -> list[str]:
    """What a recorded model needs to run, pinned to what it was made with."""
    import keras

    names = ["keras", keras.backend.backend(), "mlflow", "numpy", "pandas", "pillow", "scipy"]
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]


def _copy_code(folder: Path) -> list[str]:
    """Copies of our packages' Python files, without caches and data; returns their paths."""
    copies = []
    for package in PACKAGES:
        target = folder / package
        ignored = shutil.ignore_patterns("__pycache__", "cache", "*.pyc")
        shutil.copytree(store.ROOT / package, target, ignore=ignored)
        copies.append(str(target))
    return copies


def _code_tags() -> dict[str, str]:
    """The commit that is checked out, and whether files differ from it; MLflow's own tag looks elsewhere."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(store.ROOT), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {
        "git.commit": commit or "unknown",
        "git.dirty": "unknown" if changes is None else str(bool(changes)).lower(),
    }
