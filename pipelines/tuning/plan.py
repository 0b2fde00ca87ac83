"""What a search is asked to do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines import settings, space
from pipelines.settings import Recipe
from pipelines.space import Space
from pipelines.tuning.trials import Objective
from pipelines.tuning.worker import Searched

if TYPE_CHECKING:
    from data.spec import Splits


@dataclass(frozen=True)
class Plan:
    """A search that is asked for."""

    name: str
    """The recipe's."""
    recipe: Recipe
    space: Space
    strategy: str
    objective: Objective
    trials: int | None
    seed: int
    retrain: bool
    workers: int

    def plain(self) -> dict:
        """All that decides which trials are made, as plain data."""
        kept = {"recipe": settings.to_dict(self.recipe), "space": space.to_dict(self.space), "strategy": self.strategy}
        kept |= {"objective": self.objective.monitor, "trials": self.trials, "seed": self.seed}
        return json.loads(json.dumps(kept))

    def digest(self) -> str:
        """SHA-256 of the same."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()


def searched(plan: Plan, group: str, splits: Splits) -> Searched:
    """What all trials of a search have in common."""
    tags = {f"data.{key}": splits.manifest[key] for key in ("source", "sha256", "test_sha256")}
    tags["task"] = plan.recipe.model.task
    return Searched(plan.name, plan.recipe, plan.objective, group, splits.name, tags)
