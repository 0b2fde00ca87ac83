"""Is the input ever in the training's way? Images/s of the input alone and of training, for each stage of a recipe.

usage: python -m benchmarks.input_speed [RECIPE] [SECONDS]

Both use the same batches. The input is drained as fast as it comes, with the threads that training gives it; then
training steps run on one ready batch, so that they wait for nothing. The goal is a ratio of 10 or more.
"""

import time

from pipelines import command, recipes


def drain(batches: object, start: int, stop: int, seconds: float) -> float:
    """Images/s of the input alone, over batches ``start`` to ``stop`` again and again."""
    begin, count = time.perf_counter(), 0
    while True:
        for images, _ in batches.dataset(start, stop):
            count += len(images)
            if time.perf_counter() - begin > seconds:
                return count / (time.perf_counter() - begin)


def step(trainer: object, start: int, seconds: float) -> float:
    """Images/s of training steps on one ready batch."""
    images, targets = trainer.batches(start)
    trainer.model.train_on_batch(images, targets)  # traced
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        trainer.model.train_on_batch(images, targets)
        count += len(images)
    return count / (time.perf_counter() - begin)


def main(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "cifar"
    seconds = float(arguments[1]) if len(arguments) > 1 else 10.0
    recipe = recipes.find(name)
    command.start_backend()

    from rich.table import Table

    import data
    from pipelines import reports
    from pipelines.fitting.trainer import Trainer

    console = reports.console()
    splits = data.load(recipe.data)
    trainer = Trainer(recipe, splits, console)
    table = Table(title=f"{name} on {splits.name}, {trainer.precision}", title_justify="left")
    for column in ("stage", "side", "input alone, images/s", "training, images/s", "ratio"):
        table.add_column(column, justify="right")
    first = 0
    for number, stage in enumerate(recipe.stages):
        start, stop = (epoch * trainer.batches.steps for epoch in (first, first + stage.epochs))
        trainer.compile(number)
        alone, training = drain(trainer.batches, start, stop, seconds), step(trainer, start, seconds)
        side = trainer.batches(start)[0].shape[1]
        table.add_row(str(number), str(side), f"{alone:,.0f}", f"{training:,.0f}", f"{alone / training:.1f}")
        first += stage.epochs
    console.print(table)


if __name__ == "__main__":
    command.main(main)
