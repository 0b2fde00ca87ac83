"""Fine-tune a trained network for another task.

usage: python -m pipelines.transfer --source.run RUN|--source.network NAME|--source.model models:/NAME@ALIAS|
                                    --source.file FILE [--data.name folder --data.path DIR] [--baseline scratch]
                                    [--seeds N] [overrides]
       python -m pipelines.transfer [--data.name cifar10] [--data.shots 20] [overrides]
       python -m pipelines.transfer --resume last|RUN

Without a source it makes one: the first half of the dataset's classes is trained, and the network transferred to the
other half, with 20 images of each class, beside the same network from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from data.errors import BadInput
from models.pretrained import Source
from pipelines import command, settings
from pipelines.recipes import transfer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.transferring import Study

SHOTS = 20
"""Images of each class where nothing else is said and no source is given."""


@dataclass(frozen=True)
class Options:
    """What is transferred, and to what."""

    recipe: Annotated[settings.Recipe, tyro.conf.arg(name="")]
    source: Source = Source()
    baseline: Literal["none", "scratch"] = "none"
    """scratch: also train the same network from nothing under the same budget, and report the gain."""
    epochs: int | None = None
    """Train for so many epochs: stages and schedule keep their proportions."""
    seeds: int = 1
    """Train so many times, from the recipe's seed on; where there are shots, with as many draws of them."""
    trust: bool = False
    """Execute code in the network that it begins from, or recorded with it; without it nothing of it is executed."""
    resume: str | None = None
    """Go on with an unfinished transfer: its id or name, or last."""


def main(arguments: list[str]) -> None:
    """Transfer as the arguments ask."""
    default = Options(transfer.transfer())
    options = command.parse(Options, arguments, "python -m pipelines.transfer", __doc__, default)
    from pipelines import reports, training, transferring

    console = reports.console()
    if options.resume is not None:
        if replace(options, resume=None) != default:
            raise BadInput("takes everything from the run", "--resume", "leave out all other flags")
        _resume(options.resume, console)
        return
    if options.seeds < 1:
        raise BadInput(f"{options.seeds} trainings", "--seeds", "give 1 or more")
    recipe = options.recipe if options.epochs is None else options.recipe.with_epochs(options.epochs)
    if options.source.given:
        recipe = replace(recipe, model=replace(recipe.model, source=options.source))
    elif options.source != Source():
        raise BadInput("no network is named", "--source", "give --source.network, .run, .model or .file")
    recipe.check()
    command.start_backend()
    from pipelines import sources

    if not recipe.model.source.given:
        transferring.start(_example(recipe, options), console)
        return
    recipe = sources.fitting_size(sources.provide(recipe, options.trust))
    if options.seeds > 1 or options.baseline == "scratch":
        transferring.start(
            transferring.Study(recipe, options.seeds, options.baseline == "scratch", trust=options.trust), console
        )
    else:
        training.carry_out(training.Request(command.TRANSFER, recipe, trust=options.trust), console)


def _example(recipe: settings.Recipe, options: Options) -> Study:
    """From one half of a dataset's classes to the other, or to those that are named from all others."""
    import data
    from pipelines import transferring

    known = data.load(replace(recipe.data, classes=(), shots=0, draw=0, limit=0)).spec.classes
    wanted = data.load(recipe.data).spec.classes if recipe.data.classes else known[len(known) // 2 :]
    others = tuple(name for name in known if name not in wanted)
    if len(others) < 2:
        do = "name fewer classes, or give a source"
        raise BadInput(f"leaves {len(others)} classes to train a source on", "--data.classes", do)
    shots = recipe.data.shots or (0 if recipe.data.limit else SHOTS)
    few = replace(recipe, data=replace(recipe.data, classes=wanted, shots=shots))
    return transferring.Study(few, options.seeds, True, transfer.pretraining(recipe, others))


def _resume(reference: str, console: Console) -> None:
    from pipelines import training, transferring
    from pipelines.tracking import journal, unfinished

    folder = unfinished.find(reference, command.TRANSFER)
    go_on = transferring.resume if "study" in journal.read_header(folder) else training.resume
    go_on(folder, console)


if __name__ == "__main__":
    command.main(main)
