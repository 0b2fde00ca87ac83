"""A training as its user sees it: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

INTERVAL = 30.0
"""Seconds between two lines within an epoch where the output is not a terminal."""


class Progress:
    """Shows epoch, loss, accuracy, images/s and time left."""

    def __init__(self, console: Console, steps: int, costs: Sequence[float], limit: int, batch_size: int) -> None:
        """Take the length of what will be shown.

        Args:
            console: where to.
            steps: of an epoch.
            costs: for each epoch, what one of its steps takes in comparison with those of the others.
            limit: steps after which the run ends, whatever the epochs.
            batch_size: examples in a step.
        """
        self.console, self.steps, self.batch_size = console, steps, batch_size
        self.costs = [cost for cost in costs for _ in range(steps)][:limit]
        self.epochs = len(costs)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self.bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = None

    def begin(self, epoch: int) -> None:
        """An epoch begins."""
        self.epoch, self.spoken = epoch, time.perf_counter()
        self.task = self.bar.add_task(f"epoch {epoch}/{self.epochs}", total=self.steps, text="")
        self.bar.start()

    def advance(self, done: int, in_epoch: int, seconds: float, logs: dict[str, float]) -> None:
        """A step of the run is done.

        Args:
            done: steps of the run so far.
            in_epoch: steps of this epoch so far.
            seconds: that they took.
            logs: means over the epoch so far.
        """
        rate = in_epoch / seconds
        left = sum(self.costs[done:]) / self.costs[done - 1] / rate
        measured = "  ".join(f"{name} {float(value):.4f}" for name, value in logs.items())
        text = f"{measured}  {rate * self.batch_size:,.0f}/s  {_clock(left)} left"
        self.bar.update(self.task, completed=in_epoch, text=text)
        if self.bar.disable and time.perf_counter() - self.spoken > INTERVAL:
            self.spoken = time.perf_counter()
            self.console.print(
                f"epoch {self.epoch}/{self.epochs}  step {in_epoch}/{self.steps}  {text}", soft_wrap=True
            )

    def end(self, epoch: int, metrics: dict[str, float]) -> None:
        """An epoch is over; its line stays."""
        self.stop()
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items() if "/" in name)
        speed = f"{metrics['examples_per_second']:,.0f}/s  {metrics['epoch_seconds']:.1f} s"
        self.console.print(f"epoch {epoch}/{self.epochs}  {shown}  {speed}", soft_wrap=True)

    def stop(self) -> None:
        """Take the bar away, at an epoch's end or when the training breaks off."""
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.bar.stop()
            self.task = None


def _clock(seconds: float) -> str:
    """Minutes and seconds, 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
