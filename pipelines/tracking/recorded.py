"""Finding recorded runs, and reading them."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from data.errors import BadInput, reason
from pipelines.tracking import store

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.servable import Servable


REGISTERED = "models:/"
"""Begins the name of a registered model."""

SPREAD = 100
"""Trainings of one setting that are looked at, at most."""

ASKED = 40
"""Parameters that the store is asked to compare: each is a table to join, and SQLite joins 64, MySQL 61."""

SELDOM_CHANGED = ("data.", "augmentation.")
"""Begin the names of parameters that come last among those; what the data are, their digest says."""

SERVABLE = "model/data/servable"
"""Where MLflow lays what :func:`pipelines.tracking.environment.saved_model` gives it."""


@dataclass(frozen=True)
class Recorded:
    """A run in the store."""

    id: str
    name: str
    experiment: str

    def recipe(self) -> dict:
        """What ``recipe.json`` holds."""
        return self._json("recipe.json")

    def data(self) -> dict:
        """What ``data.json`` holds."""
        return self._json("data.json")

    def _json(self, name: str) -> dict:
        try:
            found = json.loads(self.text(name))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"has no readable {name} ({reason(error)})", f"run {self.name}", "choose another") from None
        if not isinstance(found, dict):
            raise BadInput(f"has a {name} that holds no object", f"run {self.name}", "choose another")
        return found

    def text(self, name: str) -> str:
        """What a text file of the run holds.

        Raises:
            BadInput: it has none of this name.
        """
        import mlflow

        try:
            return mlflow.artifacts.load_text(f"runs:/{self.id}/{name}")
        except Exception as error:  # whatever its artifact store raises
            raise BadInput(f"has no readable {name} ({reason(error)})", f"run {self.name}", "choose another") from None

    def load_model(self, trust: bool = False) -> Servable:
        """The recorded model.

        Args:
            trust: let the code that was recorded with it, and code in it, be executed. Else the code here opens it, and
                nothing but its weights and the names of its layers is taken from the store.

        Raises:
            BadInput: there is none, or it needs trust.
        """
        import mlflow

        from pipelines import servable

        where, path = f"run {self.name}", list(sys.path)
        try:
            if trust:
                with servable.trusting():
                    return mlflow.pyfunc.load_model(f"runs:/{self.id}/model").get_raw_model()
            with tempfile.TemporaryDirectory() as folder:
                found = mlflow.artifacts.download_artifacts(f"runs:/{self.id}/{SERVABLE}", dst_path=folder)
                return servable.Servable(Path(found), called=where)
        except BadInput:
            raise
        except Exception as error:  # whatever its artifact store raises
            raise BadInput(f"holds no model ({reason(error)})", where, "choose another") from None
        finally:
            # MLflow puts the copy of our code that lies with the model first: processes begun by this one would run it.
            sys.path[:] = path

    @store.faults()
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(store.client().get_run(self.id).data.tags)

    @store.faults()
    def history(self) -> dict[str, list[tuple[int, float]]]:
        """Steps and values of each of its metrics, in order; those of the machine's load are left out."""
        client = store.client()
        names = [name for name in client.get_run(self.id).data.metrics if not name.startswith("system/")]
        return {
            name: [(point.step, point.value) for point in sorted(client.get_metric_history(self.id, name), key=_moment)]
            for name in names
        }


def _moment(point: object) -> tuple[int, int]:
    return point.step, point.timestamp


@store.faults()
def find(reference: str) -> Recorded:
    """The run of this id or name, or ``last``: the newest FINISHED one that holds a model; or the run that a registered
    model comes from, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        BadInput: there is none, or several have this name.
    """
    from mlflow.exceptions import MlflowException

    client = store.connect()
    if reference.startswith(REGISTERED):
        reference = _registered(client, reference)
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


@store.faults()
def experiments() -> dict[str, str]:
    """The names of all experiments that are not deleted, by id: that which was written into last first."""
    found = sorted(store.connect().search_experiments(), key=lambda one: one.last_update_time, reverse=True)
    return {one.experiment_id: one.name for one in found if one.experiment_id != "0"}  # MLflow's own, always empty


def _registered(client: object, reference: str) -> str:
    """The id of the run that a version of a registered model comes from."""
    from mlflow.exceptions import MlflowException

    parts = re.fullmatch(r"([^/@]+)(?:@(.+)|/(\d+))", reference.removeprefix(REGISTERED))
    if not parts:
        raise BadInput("is no registered model", reference, "give models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, version = parts.groups()
    try:
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
    except MlflowException as error:
        raise BadInput(f"is not registered ({reason(error)})", reference, "see make ui, or make register") from None
    if not found.run_id:
        raise BadInput("was not registered from a run", reference, "name another version")
    return found.run_id


def other_seeds(run: Recorded) -> dict[str, list[float]]:
    """The final metrics of finished trainings that differ from a run in their seed at most, one value for each seed.

    Of the newest :data:`SPREAD` of such trainings: enough for a spread, and read in a moment.
    """
    client = store.client()
    this = client.get_run(run.id)
    tags, params = this.data.tags, {**this.data.params, "seed": ""}
    condition = [
        "attributes.status = 'FINISHED' and tags.stage != 'trial' and tags.`weights.sha256` != ''",
        f"params.seed != '' and tags.recipe = '{tags['recipe']}' and tags.`data.sha256` = '{tags['data.sha256']}'",
    ]
    telling = sorted(params.keys() - {"seed"}, key=lambda name: (name.startswith(SELDOM_CHANGED), name))
    condition += [f"params.`{name}` = '{params[name]}'" for name in telling[:ASKED] if "'" not in params[name]]
    values: dict[str, list[float]] = {}
    seen = set()
    number, order = this.info.experiment_id, ["attributes.start_time DESC"]
    for other in client.search_runs([number], " and ".join(condition), order_by=order, max_results=SPREAD):
        seed = other.data.params["seed"]
        if {**other.data.params, "seed": ""} != params or seed in seen:
            continue
        seen.add(seed)
        for name, value in other.data.metrics.items():
            values.setdefault(name, []).append(value)
    return values


@dataclass(frozen=True)
class Facts:
    """What the store says of a run."""

    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    """The last value of each."""


def facts(run: Recorded) -> Facts:
    """The state, tags, parameters and metrics of a run."""
    found = store.client().get_run(run.id)
    return Facts(found.info.status, dict(found.data.tags), dict(found.data.params), dict(found.data.metrics))


def table(run: Recorded, name: str) -> pd.DataFrame:
    """What a run recorded as ``NAME.parquet``.

    Raises:
        BadInput: it has none of this name.
    """
    import mlflow
    import pandas as pd

    try:
        with tempfile.TemporaryDirectory() as folder:
            return pd.read_parquet(
                mlflow.artifacts.download_artifacts(f"runs:/{run.id}/{name}.parquet", dst_path=folder)
            )
    except Exception as error:  # whatever its artifact store raises
        what = f"has no readable {name}.parquet ({reason(error)})"
        raise BadInput(what, f"run {run.name}", "choose another") from None


def members(group: Recorded) -> list[Recorded]:
    """The finished trainings of a group of seeds, the first one first."""
    return _trainings(f"tags.`mlflow.parentRunId` = '{group.id}'")


def of_recipe(name: str) -> list[Recorded]:
    """The finished trainings of a recipe, in whatever experiment, the first one first."""
    escaped = name.replace("'", "''")
    return _trainings(f"tags.recipe = '{escaped}'")


@store.faults()
def _trainings(condition: str) -> list[Recorded]:
    """Finished runs that end with trained weights; a group of seeds has none of its own."""
    client = store.client()
    numbers = [experiment.experiment_id for experiment in client.search_experiments()]
    finished = f"attributes.status = 'FINISHED' and tags.`weights.sha256` != '' and {condition}"
    found = client.search_runs(numbers, finished, order_by=["attributes.start_time ASC"], max_results=1000)
    return [_known(client, one) for one in found]


def place(run: str, name: str) -> Path | None:
    """The file of an artifact of the run with this id, where the store keeps it on this machine."""
    address = urlparse(store.client().get_run(run).info.artifact_uri)
    path = Path(unquote(address.path)) / name
    return path if address.scheme in ("", "file") and path.is_file() else None


def _known(client: object, found: object) -> Recorded:
    name = client.get_experiment(found.info.experiment_id).name
    return Recorded(found.info.run_id, found.info.run_name, name)
