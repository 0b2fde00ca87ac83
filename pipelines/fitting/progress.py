"""A training as its user sees it: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import accumulate
from math import inf

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

INTERVAL = 30.0
"""Seconds between two lines within an epoch where the output is not a terminal."""

MOMENT = 0.1
"""Seconds between two changes of the bar: where steps are short, to show each would take as long as to take it."""


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
        self.console, self.steps, self.batch_size, self.costs = console, steps, batch_size, costs
        self.epochs = len(costs)
        lengths = [min(steps, max(0, limit - steps * epoch)) for epoch in range(self.epochs)]
        works = [cost * length for cost, length in zip(costs, lengths, strict=True)]
        self.left = [*accumulate(reversed(works), initial=0.0)][::-1]
        """What is left before each epoch, in steps that cost 1."""
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
        self.epoch, self.spoken, self.changed = epoch, time.perf_counter(), -inf
        self.task = self.bar.add_task(f"epoch {epoch}/{self.epochs}", total=self.steps, text="")
        self.bar.start()

    def advance(self, in_epoch: int, seconds: float, logs: dict[str, float]) -> None:
        """A step of the run is done.

        Args:
            in_epoch: steps of this epoch so far.
            seconds: that they took.
            logs: means over the epoch so far.
        """
        now = time.perf_counter()
        if now - (self.spoken if self.bar.disable else self.changed) <= (INTERVAL if self.bar.disable else MOMENT):
            return
        rate, cost = in_epoch / seconds, self.costs[self.epoch - 1]
        left = (self.left[self.epoch - 1] / cost - in_epoch) / rate
        measured = "  ".join(f"{name} {float(value):.4f}" for name, value in logs.items())
        text = f"{measured}  {rate * self.batch_size:,.0f}/s  {_clock(left)} left"
        if self.bar.disable:
            self.spoken = now
            line = f"epoch {self.epoch}/{self.epochs}  step {in_epoch}/{self.steps}  {text}"
            self.console.print(line, soft_wrap=True)
        else:
            self.changed = now
            self.bar.update(self.task, completed=in_epoch, text=text)

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
