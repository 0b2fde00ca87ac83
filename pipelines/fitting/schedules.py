"""Learning rates over the steps of a run."""

import math

import keras

from pipelines.settings import Optimizer, Schedule


@keras.saving.register_keras_serializable(package="pipelines")
class Scheduled(keras.optimizers.schedules.LearningRateSchedule):
    """One of the named schedules over ``steps`` steps, from its warm-up to its last rate.

    ``start`` steps were taken before the optimizer that holds this schedule began to count.

    cosine: Loshchilov, Hutter, arXiv 1608.03983; one-cycle: Smith, Topin, arXiv 1708.07120, with linear rise
    and fall. A step is one batch, also where gradients of several are accumulated.
    """

    def __init__(
        self,
        name: str,
        peak: float,
        steps: int,
        warmup: float = 0.0,
        milestones: tuple[float, ...] = (),
        factor: float = 0.1,
        final: float = 0.0,
        start: int = 0,
    ) -> None:
        self.name, self.peak, self.steps, self.start = name, peak, steps, start
        self.warmup, self.milestones, self.factor, self.final = warmup, tuple(milestones), factor, final

    def __call__(self, step: int) -> keras.KerasTensor:
        """The rate of a step, counted from 0."""
        ops = keras.ops
        step = ops.cast(step, "float32") + self.start
        done = step / max(1, self.steps)
        # The first step of a warm-up already moves, and its last one reaches the peak.
        rising = (step + 1) / max(1, self.warmup * self.steps)
        share = self._share(done, ops.clip((done - self.warmup) / (1 - self.warmup), 0, 1))
        return self.peak * ops.minimum(rising, share) if self.warmup else self.peak * share

    def _share(self, done: keras.KerasTensor, after_warmup: keras.KerasTensor) -> keras.KerasTensor:
        """The rate as a share of the peak, given the share of all steps and of those after the warm-up."""
        if self.name == "cosine":
            return self.final + (1 - self.final) * 0.5 * (1 + keras.ops.cos(math.pi * after_warmup))
        if self.name in ("linear", "one-cycle"):
            return 1 - (1 - self.final) * after_warmup
        share = keras.ops.ones_like(done)
        for milestone in self.milestones if self.name == "step" else ():
            share = keras.ops.where(done >= milestone, share * self.factor, share)
        return share

    def get_config(self) -> dict:
        """The constructor's arguments."""
        names = ("name", "peak", "steps", "warmup", "milestones", "factor", "final", "start")
        return {name: getattr(self, name) for name in names}


class WarmedPlateau(keras.callbacks.ReduceLROnPlateau):
    """Reduce-on-plateau after a linear warm-up over the first ``steps`` steps."""

    def __init__(self, peak: float, steps: int, **arguments: object) -> None:
        super().__init__(**arguments)
        self.peak, self.steps, self.warmed = peak, steps, 0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Set the rate of a warm-up step; later ones are left to the plateau."""
        if self.warmed < self.steps:
            self.warmed += 1
            self.model.optimizer.learning_rate = self.peak * self.warmed / self.steps


def scheduled(schedule: Schedule, optimizer: Optimizer, steps: int, factor: float, start: int) -> Scheduled | float:
    """What an optimizer takes as its learning rate: a schedule, or for plateau a number that a callback changes.

    Args:
        schedule: which one.
        optimizer: whose learning rate is the peak.
        steps: batches of the whole run.
        factor: the stage's factor.
        start: batches before the optimizer began to count.
    """
    peak = optimizer.learning_rate * factor
    if schedule.name == "plateau":
        return peak
    # The rising part of one-cycle is 30 % unless said otherwise.
    warmup = schedule.warmup or (0.3 if schedule.name == "one-cycle" else 0.0)
    return Scheduled(schedule.name, peak, steps, warmup, schedule.milestones, schedule.factor, schedule.final, start)
