"""A training's state as numbers, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np

from data.errors import BadInput
from pipelines.fitting.checkpoints import Position, State

if TYPE_CHECKING:
    from collections.abc import Sequence

REMEMBERED = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "warmed")
"""What Keras' EarlyStopping and ReduceLROnPlateau, and our warm-up before it, change as they go."""


def capture(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], position: Position) -> State:
    """Copy everything that the rest of a training depends on."""
    arrays = {
        f"{group}/{number:05}": np.array(keras.ops.convert_to_numpy(variable), copy=True)
        for group, variables in _variables(model).items()
        for number, variable in enumerate(variables)
    }
    remembered = {}
    for callback in callbacks:
        kind = type(callback).__name__
        remembered[kind] = {name: _plain(getattr(callback, name)) for name in REMEMBERED if hasattr(callback, name)}
        for number, weight in enumerate(getattr(callback, "best_weights", None) or []):
            arrays[f"best/{number:05}"] = np.array(weight, copy=True)
    return State(replace(position, epochs=list(position.epochs)), arrays, remembered)


def restore_weights(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], state: State) -> None:
    """Put model, optimizer and callbacks back into a state; :func:`restore_metrics` does the rest."""
    model.optimizer.build(model.trainable_variables)
    groups = _variables(model)
    for group in ("model", "optimizer"):
        _assign(groups[group], state, group)
    for callback in callbacks:
        for name, value in state.callbacks[type(callback).__name__].items():
            setattr(callback, name, value)
        if hasattr(callback, "best_weights"):
            callback.best_weights = _group(state, "best") or None


def restore_metrics(model: keras.Model, state: State) -> None:
    """Put the metrics of the epoch under way back, which Keras clears when it begins one."""
    _assign(_variables(model)["metrics"], state, "metrics")


def _variables(model: keras.Model) -> dict[str, list[keras.Variable]]:
    """All variables of a training; the random states of layers are among those of the model."""
    metrics = model.metrics_variables
    apart = {id(variable) for variable in [*metrics, *model.optimizer.variables]}
    own = [variable for variable in model.variables if id(variable) not in apart]
    return {"model": own, "optimizer": model.optimizer.variables, "metrics": metrics}


def _group(state: State, group: str) -> list[np.ndarray]:
    return [array for name, array in sorted(state.arrays.items()) if name.startswith(f"{group}/")]


def _assign(variables: Sequence[keras.Variable], state: State, group: str) -> None:
    arrays = _group(state, group)
    if [tuple(variable.shape) for variable in variables] != [array.shape for array in arrays]:
        what = f"its {group} variables are not those that this code makes"
        raise BadInput(what, "checkpoint", "check out the commit that the run was started with, or train anew")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _plain(value: object) -> object:
    """A number as JSON knows it."""
    return value if value is None or isinstance(value, int) else float(value)
