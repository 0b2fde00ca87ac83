"""Grid, random, Bayesian and Hyperband search at equal cost, over several seeds: the best so far by epochs spent.

usage: python -m benchmarks.tuning_strategies [SEEDS] [TRIALS] [FIGURE]

One hidden layer (the recipe mnist-hidden) on 3,000 images of MNIST: learning rate, L2 penalty and hidden units are
searched by validation accuracy. Each strategy may spend TRIALS (27) trainings of 9 epochs: a grid of as many points, 3
values of each; as many random or Bayesian trials; Hyperband's sweeps, one after the other, until these epochs are
spent. SEEDS (3) seeds of the search, of the initial weights and of the order of the images. FIGURE: a file for the
curves.

Two trials at once; three quarters of an hour on 2 cores.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

EPOCHS = 9
IMAGES = 3_000
STRATEGIES = ("grid", "random", "bayesian", "hyperband")
SCORE = "val/accuracy"


def space(strategy: str, trials: int) -> dict:
    """The ranges of mnist-hidden; for the grid the middles of equal parts of each, as many as make up the trials."""
    from pipelines import recipes
    from pipelines.space import Choice, Int

    ranges = recipes.find_space("mnist-hidden", recipes.find("mnist-hidden"))
    if strategy != "grid":
        return ranges
    parts = max(1, round(trials ** (1 / len(ranges))))
    middles = (np.arange(parts) + 0.5) / parts
    points = {path: found.low * (found.high / found.low) ** middles for path, found in ranges.items()}
    return {
        path: Choice(tuple(round(value) if isinstance(ranges[path], Int) else float(value) for value in values))
        for path, values in points.items()
    }


def searched(strategy: str, seed: int, sweep: int, trials: int) -> pd.DataFrame:
    """The trials of one search, in the order they were made, with the epochs that each cost."""
    from pipelines import recipes, reports
    from pipelines.tracking import recorded
    from pipelines.tuning import search
    from pipelines.tuning.plan import Plan
    from pipelines.tuning.trials import Objective

    recipe = recipes.find("mnist-hidden").with_epochs(EPOCHS)
    recipe = replace(recipe, data=replace(recipe.data, limit=IMAGES), seed=seed)
    ranges = space(strategy, trials)
    most = None if strategy == "hyperband" else trials
    chosen = seed + 100 * sweep
    plan = Plan("mnist-hidden", recipe, ranges, strategy, Objective("accuracy"), most, chosen, False, 2)
    run = search.carry_out(plan, reports.console())
    found = recorded.table(recorded.find(run), "trials")
    reached = found.set_index("trial")["epochs"]
    before = [int(reached.get(past, 0)) if past else 0 for past in found["goes_on_from"]]
    return found.assign(cost=found["epochs"] - before)


def curve(strategy: str, seed: int, trials: int) -> np.ndarray:
    """The best validation accuracy after each epoch spent, (TRIALS * EPOCHS,); NaN before the first trial's end."""
    budget = trials * EPOCHS
    best = np.full(budget, np.nan)
    spent, sweep, so_far = 0, 0, -np.inf
    while spent < budget and (strategy == "hyperband" or sweep == 0):
        for _, trial in searched(strategy, seed, sweep, trials).iterrows():
            spent += int(trial["cost"])
            if spent > budget:
                break
            so_far = np.fmax(so_far, trial[SCORE])
            best[spent - 1 :] = so_far
        sweep += 1
    return best


def draw(curves: dict[str, np.ndarray], path: Path) -> None:
    """Mean over seeds and their range, by epochs spent."""
    from pipelines.reports import figures

    figure = figures.new(7, 4, "")
    axes = figure.subplots()
    for strategy, found in curves.items():
        epochs = np.arange(1, found.shape[1] + 1)
        known = ~np.isnan(found).any(axis=0)
        line = axes.plot(epochs[known], found.mean(axis=0)[known], label=strategy)[0]
        axes.fill_between(
            epochs[known], found.min(axis=0)[known], found.max(axis=0)[known], alpha=0.15, color=line.get_color()
        )
    last = [found[:, -1] for found in curves.values()]
    axes.set(
        xlabel="epochs spent", ylabel="best validation accuracy so far", ylim=(np.min(last) - 0.05, np.max(last) + 0.01)
    )
    axes.legend(frameon=False)
    figure.savefig(path)


def main(arguments: list[str]) -> None:
    seeds = int(arguments[0]) if arguments else 3
    trials = int(arguments[1]) if len(arguments) > 1 else 27
    from rich.console import Console
    from rich.table import Table

    from pipelines import command

    command.start_backend()
    curves = {
        strategy: np.stack([curve(strategy, seed, trials) for seed in range(1, seeds + 1)]) for strategy in STRATEGIES
    }
    title = f"best validation accuracy so far in percent, mean of {seeds} seeds (lowest to highest)"
    table = Table(title=title, title_justify="left")
    table.add_column("epochs spent")
    for strategy in STRATEGIES:
        table.add_column(strategy, justify="right")
    for share in (1 / 9, 1 / 3, 2 / 3, 1):
        epoch = round(share * trials * EPOCHS)
        values = [curves[strategy][:, epoch - 1] for strategy in STRATEGIES]
        shown = [f"{100 * found.mean():.2f} ({100 * found.min():.2f} to {100 * found.max():.2f})" for found in values]
        table.add_row(str(epoch), *shown)
    Console().print(table)
    if len(arguments) > 2:
        draw(curves, Path(arguments[2]))


if __name__ == "__main__":
    from pipelines import command

    command.main(main)
