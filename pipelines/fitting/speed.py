"""Which precision trains faster on this machine: measured."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import keras
import numpy as np

from data.spec import Spec
from models.fast import FastNetwork
from pipelines.fitting import devices
from pipelines.fitting.network import build

if TYPE_CHECKING:
    from data.spec import Splits
    from pipelines.settings import Recipe

PRECISIONS = ("float32", "bfloat16")

LEAST = 6
"""Turns by which a precision that always wins can be told from chance."""

CHANCE = 0.05
"""A precision counts as the faster one where equally fast ones would win so many turns in no more of all cases."""


@dataclass
class Comparison:
    """Seconds that a training step took in each precision, in turns, so that both met the same other load."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PRECISIONS})

    @property
    def steps(self) -> int:
        """How many steps of each were measured."""
        return len(self.seconds["bfloat16"])

    def median(self, precision: str) -> float:
        """Seconds of its step."""
        return statistics.median(self.seconds[precision])

    @property
    def ratios(self) -> list[float]:
        """How many times as fast bfloat16 was, turn by turn."""
        return [whole / half for whole, half in zip(*(self.seconds[name] for name in PRECISIONS), strict=True)]

    @property
    def ratio(self) -> float:
        """How many times as fast as float32 bfloat16 is."""
        return statistics.median(self.ratios)

    @property
    def faster(self) -> str:
        """The faster precision by a sign test over the turns, empty where that can't be told."""
        from scipy.stats import binomtest

        if binomtest(sum(ratio > 1 for ratio in self.ratios), self.steps).pvalue > CHANCE:
            return ""
        return "bfloat16" if self.ratio > 1 else "float32"


def compare(seconds: float = 2.0, images: int = 0) -> Comparison:
    """Train the default recipe's network in each precision for about so many seconds in all, compiling aside.

    Args:
        seconds: to measure for; each precision has LEAST steps at least.
        images: in a step, 32x32 pixels of noise; 0: 16, on a GPU 512.
    """
    images = images or (512 if devices.gpus() else 16)
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    labels = generator.integers(0, 10, images)
    networks = {precision: _network(precision, inputs) for precision in PRECISIONS}
    return _in_turns(networks, (inputs, labels), seconds, LEAST)


def of_recipe(recipe: Recipe, splits: Splits, seconds: float = 2.0) -> Comparison:
    """Train a recipe's network by steps as in its last stage, in each precision.

    Args:
        recipe: any.
        splits: some of its data, a batch at least.
        seconds: to measure for, compiling aside; each precision has three steps at least.
    """
    from rich.console import Console

    from pipelines.fitting.trainer import Trainer

    last = replace(recipe, stages=(replace(recipe.stages[-1], epochs=1),))
    networks = {}
    for precision in PRECISIONS:
        trainer = Trainer(replace(last, precision=precision), splits, Console(quiet=True))
        trainer.compile(0)
        networks[precision] = trainer.model
    return _in_turns(networks, trainer.batches(0), seconds, 3)


def _in_turns(networks: dict[str, keras.Model], batch: tuple, seconds: float, least: int) -> Comparison:
    """Let compiled networks take steps in turns, ``least`` times each or more."""
    found = Comparison()
    for network in networks.values():
        for _ in range(2):  # the first one compiles
            network.train_on_batch(*batch)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or found.steps < least:
        for precision, network in networks.items():
            begin = time.perf_counter()
            network.train_on_batch(*batch)
            found.seconds[precision].append(time.perf_counter() - begin)
    return found


def _network(precision: str, inputs: np.ndarray) -> keras.Model:
    """The default recipe's network, ready to be trained."""
    spec = Spec("images", tuple(map(str, range(10))), inputs.shape[1:], (0.5,) * 3, (0.25,) * 3)
    network = build(FastNetwork(), spec, devices.policy(precision))
    network.get_layer("whitening").adapt(inputs)
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return network
