"""What a trained network is worth for another task with few labels: test accuracy with it and without.

usage: python -m benchmarks.transfer_gain cifar10|mnist [SEEDS] [SHOTS ...]

cifar10: a network is trained on five classes (the default recipe) and transferred to the other five with SHOTS (20,
100, 500) images of each. mnist: a denoising autoencoder is trained on all digits without their labels, and its encoder
transferred to classifying them with SHOTS (10) labelled ones of each. Beside it the same network from nothing, on the
same images, for as many epochs. SEEDS (3) seeds, each with other images; intervals by Student's t over their pairs.
Settings are the recipe's (pipelines/recipes/transfer.py), which were chosen on validation.

An hour for cifar10 and three seeds, five minutes for mnist, on 2 cores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.settings import Recipe

SHOTS = {"cifar10": [20, 100, 500], "mnist": [10]}


def source(name: str) -> tuple[str, Recipe, Recipe]:
    """The recipe that trains the source, its name first, and that of the transfer but for its source and its shots."""
    import data
    from pipelines import recipes
    from pipelines.augmentation import Augmentation
    from pipelines.recipes import transfer

    wanted = transfer.transfer()
    if name == "mnist":
        wanted = replace(wanted, data=replace(wanted.data, name=name), augmentation=Augmentation())
        return "autoencoder-features", recipes.find("autoencoder-features"), wanted
    classes = data.load(wanted.data).spec.classes
    wanted = replace(wanted, data=replace(wanted.data, classes=classes[5:]))
    return "cifar", transfer.pretraining(wanted, classes[:5]), wanted


def main(arguments: list[str]) -> None:
    name = arguments[0] if arguments else "cifar10"
    seeds = int(arguments[1]) if len(arguments) > 1 else 3
    shots = [*map(int, arguments[2:])] or SHOTS[name]
    from rich.console import Console
    from rich.table import Table

    from pipelines import command, reports, sources, training, transferring
    from pipelines.recipes import transfer
    from pipelines.tracking import recorded

    command.start_backend()
    console = reports.console()
    of, first, wanted = source(name)
    run = training.carry_out(training.Request(of, first), console).run
    wanted = sources.provide(transfer.from_run(wanted, run))
    table = Table(title=f"{name}: test accuracy in percent, mean of {seeds} seeds", title_justify="left")
    for column in ("images of each class", "transferred", "from nothing", "gain", "95 % interval"):
        table.add_column(column, justify="right")
    for count in shots:
        study = transferring.Study(replace(wanted, data=replace(wanted.data, shots=count)), seeds, baseline=True)
        found = recorded.facts(recorded.find(transferring.start(study, console))).metrics
        values = [100 * found[f"test/accuracy.{arm}"] for arm in ("transferred", "from_nothing")]
        gain, low, high = (100 * found[f"gain/accuracy{part}"] for part in ("", "_low", "_high"))
        table.add_row(str(count), *(f"{value:.1f}" for value in values), f"{gain:+.1f}", f"{low:.1f} to {high:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    from pipelines import command

    command.main(main)
