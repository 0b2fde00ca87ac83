"""Draw what the model will see: originals, each beside eight draws of its augmentation and corruption.

usage: python -m pipelines.augment RECIPE [overrides]

The picture is recorded as a run of its own in MLflow.
"""

from __future__ import annotations

from data.errors import BadInput
from pipelines import command, recipes, settings

ORIGINALS, DRAWS = 8, 8


def main(arguments: list[str]) -> None:
    """Draw and record the picture."""
    name, rest = command.choose(arguments, recipes.summaries(), __doc__, "recipe")
    about = recipes.RECIPES[name].__doc__
    recipe = command.parse(settings.Recipe, rest, f"python -m pipelines.augment {name}", about, recipes.find(name))
    recipe.check()
    command.start_backend()

    import numpy as np

    import data
    from pipelines import reports, tasks
    from pipelines.augmentation import Moment
    from pipelines.reports import figures
    from pipelines.tracking import runs

    console = reports.console()
    splits = data.load(recipe.data)
    reports.warn_of_stand_in(splits.notice, console)
    if splits.spec.kind != "images":
        raise BadInput(f"{splits.name} holds {splits.spec.kind}, which can't be drawn", name, "choose another recipe")
    rows = np.linspace(0, len(splits.train) - 1, ORIGINALS).astype(int)
    images, labels = np.asarray(splits.train.inputs[rows]), splits.train.labels[rows]
    task = tasks.bind(recipe, splits)
    drawn = [task.training(images, labels, Moment(recipe.seed, epoch, 0, rows))[0] for epoch in range(DRAWS)]
    names = [splits.spec.classes[label] for label in labels]
    figure = figures.augmentations(images, np.stack(drawn, axis=1), names, splits.notice)
    tags = {"stage": "augment", "recipe": name, "task": task.name}
    params = settings.flatten(settings.to_dict(recipe))
    with runs.start(splits.name, f"augment-{name}", tags, params, {}, console) as run:
        run.figures({"augmentation": figure})
    console.print(f"figures/augmentation.png in run {run.id} of experiment {splits.name}; see make ui", soft_wrap=True)


if __name__ == "__main__":
    command.main(main)
