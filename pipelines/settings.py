"""What a run is told to do: a recipe and its parts. Importable without keras.

Everything here is a frozen dataclass; the command line, the record in MLflow and ``recipe.json`` are generated
from it. Optimizers, activations, losses and initializers carry their Keras names and keyword arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Literal

from data.errors import BadInput, reason
from data.spec import DataConfig
from models.base import Model
from pipelines.augmentation import Augmentation


@dataclass(frozen=True)
class Optimizer:
    """How a step moves the weights."""

    name: str = "adam"
    """Any Keras optimizer, or filter_muon (pipelines/fitting/optimizers.py)."""
    learning_rate: float = 1e-3
    """The largest one of the schedule."""
    arguments: dict[str, bool | float | str] = field(default_factory=dict)
    """Further arguments by their Keras names: momentum 0.9 nesterov True."""
    weight_decay: float = 0.0
    """Decoupled (Loshchilov, Hutter, arXiv 1711.05101); biases and normalization are left out."""
    clipnorm: float = 0.0
    """Largest norm of all gradients together (Keras' global_clipnorm); 0: no clipping."""
    depth_decay: float = 1.0
    """Factor on the learning rate for each block of a trunk, counted from the head down (discriminative fine-tuning:
    Howard, Ruder, arXiv 1801.06146, section 3.1); the decoupled decay of weights is not scaled."""
    accumulation: int = 1
    """Batches whose gradients are averaged for one step of the weights."""
    ema: float = 0.0
    """Momentum of the exponential moving average of the weights; 0: none. With it, the averaged weights are
    validated, selected and recorded, after batch normalization was estimated anew for them; a further stage starts
    from them."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the steps of a run, all stages together."""

    name: Literal["constant", "step", "cosine", "linear", "one-cycle", "plateau"] = "constant"
    warmup: float = 0.0
    """Share of all steps during which the rate rises linearly from 0; for one-cycle the rising part."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """step: shares of all steps at which the rate is multiplied by ``factor``."""
    factor: float = 0.1
    """step and plateau: what the rate is multiplied by."""
    patience: int = 3
    """plateau: epochs without a better validation loss before the rate falls."""
    final: float = 0.0
    """cosine, linear, one-cycle: the last rate as a share of the largest one."""


@dataclass(frozen=True)
class EarlyStopping:
    """When to end before the last epoch; the best weights by validation are kept."""

    patience: int = 0
    """Epochs without improvement; 0: never stop early, and keep the last weights."""
    monitor: Literal["loss", "accuracy"] = "loss"
    """Validation figure that is watched."""


@dataclass(frozen=True)
class Stage:
    """A stretch of training with its own conditions."""

    epochs: int = 10
    trainable: str = ""
    """Regular expression for the names of the layers that learn; empty: as the model was built."""
    blocks: int = -1
    """Of a transferred network: so many blocks of its trunk learn beside the head, counted from the top, and batch
    normalization stays as it was. 0: the head alone, on features that are computed once, of images as they are. -1:
    the whole network, as one that was built anew."""
    learning_rate: float = 1.0
    """Factor on the schedule's learning rate."""
    image_size: int = 0
    """Side in pixels that augmented images are reduced to (progressive resizing: Howard 2018; Tan, Le, arXiv
    2104.00298, section 4); 0: full size. Needs a network that takes any size."""

    def learns_as(self, other: Stage) -> bool:
        """Whether the same layers learn as in another stage."""
        return (self.trainable, self.blocks) == (other.trainable, other.blocks)


@dataclass(frozen=True)
class Recipe:
    """All that decides a training's result, apart from the data's bytes and the code."""

    data: DataConfig
    model: Model
    augmentation: Augmentation | None = Augmentation()
    """Of images; None for texts."""
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    early_stopping: EarlyStopping = EarlyStopping()
    stages: tuple[Stage, ...] = (Stage(),)
    steps: int = 0
    """End after this many batches; 0: after the stages' epochs."""
    batch_size: int = 128
    balance: float = 0.0
    """An example of a class weighs its share of the training examples to the power of minus this: 0 all alike, 1 every
    class as much as any other. The weights average 1."""
    label_smoothing: float = 0.0
    """Share of each target spread evenly over all classes (Szegedy et al., arXiv 1512.00567, section 7)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: the one that was measured to be faster on this machine, for the network, or by make doctor; else bfloat16
    on a GPU and on a CPU with avx512_bf16 or amx_bf16, float32 elsewhere."""
    seed: int = 1
    deterministic: bool = False
    """Repeat bit for bit on one machine: deterministic operations and a fixed number of threads; may be slower."""

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def total_steps(self, in_epoch: int) -> int:
        """Steps that the schedule spans, with so many in an epoch."""
        whole = self.epochs * in_epoch
        return min(self.steps or whole, whole)

    def with_epochs(self, epochs: int) -> Recipe:
        """The same recipe in so many epochs: each stage gets its share, and the schedule spans them all."""
        if epochs < 1:
            raise BadInput(f"{epochs} epochs", "--epochs", "give at least 1")
        ends, done = [], 0
        for stage in self.stages:
            done += stage.epochs
            ends.append(round(epochs * done / self.epochs))
        lengths = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        stages = (replace(stage, epochs=length) for stage, length in zip(self.stages, lengths, strict=True))
        return replace(self, stages=tuple(stage for stage in stages if stage.epochs))

    def check(self) -> None:
        """Refuse what can't work, before any work is done.

        Raises:
            BadInput: with the flag that has to change.
        """
        positive = {
            "--batch-size": self.batch_size,
            "--optimizer.accumulation": self.optimizer.accumulation,
            "--optimizer.learning-rate": self.optimizer.learning_rate,
            "--optimizer.depth-decay": self.optimizer.depth_decay,
            **{f"--stages.{number}.epochs": stage.epochs for number, stage in enumerate(self.stages)},
        }
        shares = {
            "--label-smoothing": self.label_smoothing,
            "--optimizer.ema": self.optimizer.ema,
            "--schedule.warmup": self.schedule.warmup,
        }
        for flag, value in positive.items():
            if not value > 0:
                raise BadInput(f"{value} is not above 0", flag, "give a positive number")
        for flag, value in shares.items():
            if not 0 <= value < 1:
                raise BadInput(f"{value} is not a share", flag, "give a number from 0 to below 1")
        if not self.data.validation and (self.early_stopping.patience or self.schedule.name == "plateau"):
            what = "early stopping and reduce-on-plateau watch validation, and there is none"
            raise BadInput(what, "--data.validation 0", "set --early-stopping.patience 0 and another schedule")
        if not 0 <= self.balance <= 1:
            raise BadInput(f"{self.balance} is no power from 0 to 1", "--balance", "give one")
        for number, stage in enumerate(self.stages):
            if stage.blocks < -1:
                raise BadInput(f"{stage.blocks} blocks", f"--stages.{number}.blocks", "give 0 or more, or -1 for all")
            if not stage.blocks and stage.image_size:
                what = "features are computed once, of images of one size"
                raise BadInput(what, f"--stages.{number}.image-size", "set it to 0 where blocks is 0")
        view = self.augmentation
        if view and view.resize and view.patch > view.resize:
            raise BadInput(f"{view.patch} is larger than resize", "--augmentation.patch", "make it smaller")


@cache
def _converter() -> object:
    import cattrs
    import cattrs.strategies

    import models

    models.import_architectures()
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(bool | float | str, lambda value, _: value)
    tagged = partial(cattrs.strategies.configure_tagged_union, tag_name="kind")
    cattrs.strategies.include_subclasses(Model, converter, union_strategy=tagged)
    return converter


def to_dict(recipe: Recipe) -> dict:
    """The recipe as plain data; the architecture's class is named by ``kind``."""
    return _converter().unstructure(recipe)


def from_dict(plain: dict) -> Recipe:
    """The recipe that :func:`to_dict` wrote.

    Raises:
        BadInput: it was not written by this version of the code.
    """
    import cattrs

    try:
        return _converter().structure(plain, Recipe)
    except cattrs.BaseValidationError as error:
        what = reason(Exception("; ".join(cattrs.transform_error(error))))
    except Exception as error:  # what is no object at all can raise anything
        what = reason(error)
    raise BadInput(f"does not fit this version ({what})", "recipe.json", "use its own")


def flatten(plain: dict, prefix: str = "") -> dict[str, object]:
    """Nested plain data as one level with dotted names; lists are numbered."""
    flat = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            flat |= flatten(dict(enumerate(value)), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
