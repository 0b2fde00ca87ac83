"""The best trial's trained network as the model of its search, without training again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput
from pipelines import command, isolation, preparation, training
from pipelines.tuning.trials import Asked
from pipelines.tuning.worker import Searched

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.tracking.runs import Run
    from pipelines.training import Request


def record(run: Run, searched: Searched, asked: Asked, console: Console) -> None:
    """Record the network that a trial ended with as the model of the search's run; the test set is not looked at.

    Args:
        run: the search's.
        searched: what its trials have in common.
        asked: the best trial; where its state lies on another machine there is no model.
        console: is told.

    Raises:
        Interrupted: this process was asked to end; the model is made when the search goes on.
        BadInput: it can't be made, for want of disk space say.
    """
    state, again = searched.state(asked.id), f"make train-{run.id}"
    if not run.has("model"):
        if not state.is_dir():
            where = "it was trained on another machine"
            console.print(f"its model is not here, {where}; to train it: {again}", soft_wrap=True)
            return
        _make(searched.request(asked), run.model_folder(), state)
        run.complete_model()
    console.print(f"its model: make predict RUN={run.id} INPUT=...; to train it again: {again}", soft_wrap=True)


def _make(request: Request, folder: Path, state: Path) -> None:
    """Have the model written: a process of its own leaves the search's without a network, and a GPU to others."""
    status = isolation.run_apart(write, request, folder)
    if status > 128:
        raise command.Interrupted(status - 128)
    if status:
        do = f"mend what is said above, or remove {state} to go without, and give the same command"
        raise BadInput("its model can't be made", f"trial {request.trial.id}", do)


def write(request: Request, folder: Path) -> None:
    """Write the servable of a trial's last state, or of its best weights where early stopping keeps them."""
    import numpy as np

    from pipelines import reports, servable
    from pipelines.fitting.checkpoints import Checkpoints
    from pipelines.tracking import environment

    preparation.prepare(request.recipe, 0)
    splits = preparation.load(request.recipe, request.data_sha256, reports.nowhere())
    trainer = training.make_trainer(request, splits, reports.nowhere())
    fitted = trainer.fit(lambda *_: None, state=Checkpoints(Path(request.trial.keeps)).latest())
    servable.save(folder, fitted.model, trainer.task.serving())
    example = np.asarray(splits.train.inputs[np.arange(1)])
    environment.complete_model(folder.parent, example, servable.Servable(folder).predict(example))
