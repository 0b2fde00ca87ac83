"""MLflow's registry of models: names, versions of them, and aliases that point to a version."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines.tracking import store

if TYPE_CHECKING:
    from pipelines.tracking.recorded import Recorded

LONGEST = 5_000
"""Characters of a version's description that every database takes."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: str
    new: bool
    """False where the run had been registered under this name before."""
    alias_from: str
    """The version that had the alias until now; empty where none had."""


def check(name: str, alias: str) -> None:
    """Refuse names that MLflow, or an address ``models:/NAME@ALIAS``, has no place for.

    Raises:
        BadInput: one of them is such a name.
    """
    if not re.fullmatch(r"[^/:@\s.][^/:@]{0,199}", name):
        raise BadInput("is no name for a model", f"NAME={name}", "leave out / : @ and a dot at the beginning")
    if alias and not re.fullmatch(r"[\w-]{1,200}", alias):
        raise BadInput("is no alias", f"ALIAS={alias}", "take letters, digits, - and _")
    if re.fullmatch(r"v\d+|latest", alias, re.IGNORECASE):
        raise BadInput("is reserved by MLflow", f"ALIAS={alias}", "take another, champion say")


def register(run: Recorded, name: str, alias: str, tags: Mapping[str, str], card: str) -> Version:
    """Register a run's model, unless it is under this name already, and let the alias point to it.

    Args:
        run: one that holds a model.
        name: of the registered model, made where there is none.
        alias: empty for none.
        tags: of the version.
        card: Markdown, for its description.
    """
    import mlflow

    client = store.client()
    # Not by name, which may hold an apostrophe that MLflow's conditions have no way to write.
    known = [one for one in client.search_model_versions(f"run_id = '{run.id}'") if one.name == name]
    if known:
        number = str(max(int(one.version) for one in known))
    else:
        model = client.get_run(run.id).outputs.model_outputs[0].model_id
        with redirect_stderr(io.StringIO()):  # it says what it does in its own words
            number = str(mlflow.register_model(f"models:/{model}", name, tags=dict(tags)).version)
        client.update_model_version(name, number, _shortened(card, run))
    before = client.get_registered_model(name).aliases.get(alias, "")
    if alias:
        client.set_registered_model_alias(name, alias, number)
    return Version(number, not known, str(before))


def _shortened(card: str, run: Recorded) -> str:
    """The card, or as much of it as fits."""
    rest = f"\n\n…\n\nThe whole card is `model_card.md` of run {run.id}."
    return card if len(card) <= LONGEST else card[: LONGEST - len(rest)].rpartition("\n")[0] + rest
