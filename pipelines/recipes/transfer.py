"""The recipes of transfer learning, which ``make transfer`` takes with a source, or with the one it trains itself."""

from __future__ import annotations

from dataclasses import replace

from data.spec import DataConfig
from models.pretrained import Source, Transferred
from pipelines import recipes
from pipelines.augmentation import Augmentation
from pipelines.settings import Optimizer, Recipe, Schedule, Stage


def transfer() -> Recipe:
    """A trained network's features with a new head, then block after block of it, from the top, with a falling rate."""
    return Recipe(
        DataConfig("cifar10"),
        Transferred(),
        augmentation=Augmentation(flip="random"),
        optimizer=Optimizer("adam", 2e-3, depth_decay=0.5),
        schedule=Schedule("linear"),
        stages=(Stage(30, blocks=0), Stage(15, blocks=1), Stage(15, blocks=2)),
        batch_size=32,
    )


def from_scratch(recipe: Recipe) -> Recipe:
    """The same network from nothing under the same budget: as many epochs, all of it learning at the full rate."""
    return replace(
        recipe,
        model=replace(recipe.model, scratch=True),
        optimizer=replace(recipe.optimizer, depth_decay=1.0),
        stages=(Stage(recipe.epochs),),
    )


def pretraining(recipe: Recipe, classes: tuple[str, ...]) -> Recipe:
    """Training on these classes of the dataset that a recipe transfers to."""
    data = replace(recipe.data, classes=classes, shots=0, draw=0, limit=0)
    return replace(recipes.find("cifar"), data=data, seed=recipe.seed)


def from_run(recipe: Recipe, run: str) -> Recipe:
    """The recipe with a run as its source."""
    return replace(recipe, model=replace(recipe.model, source=Source(run=run)))
