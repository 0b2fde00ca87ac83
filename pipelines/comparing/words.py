"""What a comparison says, in plain words that keep the uncertainty of the test sample and that of training apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.comparing import commands, statistics
from pipelines.comparing.pairs import SEEDS, Measure, Pair
from pipelines.comparing.sides import Side
from pipelines.comparing.statistics import LEVEL, Estimate, Test

SMALLEST = 0.0001
"""P-values below are not told apart."""


def verdict(pairs: Sequence[Pair]) -> list[str]:
    """The sentences on all pairs, in the order in which they should be read: of several a paragraph each."""
    if len(pairs) == 1:
        return sentences(pairs[0])
    return [f"{pair.name}: {' '.join(sentences(pair))}" for pair in pairs] + [_of_several(pairs)]


def sentences(pair: Pair) -> list[str]:
    """Two sentences on one pair: the better founded first."""
    on_sample, on_recipe = sample_sentence(pair), recipe_sentence(pair)
    return [on_recipe, on_sample] if pair.training and not pair.same_setting else [on_sample, on_recipe]


def sample_sentence(pair: Pair) -> str:
    """Whether one trained model, or group of them, is better than the other on inputs like those of the test set."""
    sample = pair.sample
    where = f"On these {len(pair.first.scores):,} test {inputs(pair.first)}"
    if pair.mcnemar and not pair.mcnemar.only_first + pair.mcnemar.only_second:
        return f"{where} no difference can be seen: {_both(pair)} are right and wrong on the same ones."
    several = max(len(side.members) for side in (pair.first, pair.second)) > 1
    tested = f"; McNemar's exact test, {p_value(pair.mcnemar.p)}" if pair.mcnemar else ""
    which = "95 % interval of the test sample, the models as they are," if several else "95 % interval"
    surely = pair.mcnemar is None or pair.mcnemar.p < LEVEL
    if not sample.sign:
        also = "" if surely == (pair.mcnemar is None) else ", though McNemar's test sees one: take it as undecided"
        shown = f"{_difference(pair, sample)} ({which} {interval(pair.measure, sample)}{tested})"
        models = f"{_models(pair.first)} and {_models(pair.second)}" if several else _both(pair)
        return f"{where} no difference between {models} can be seen: {shown}{also}."
    ahead, behind, gain = _turned(pair, sample)
    shown = f"by {amount(pair.measure, gain)} ({which} {interval(pair.measure, gain)}{tested})"
    if not surely:
        undecided = "the interval leaves 0 out and the test finds no difference: take it as undecided"
        return f"{where} {ahead.letter} is ahead of {behind.letter} {shown}; {undecided}."
    if not several:
        return f"{where} {ahead.letter} is better than {behind.letter} {shown}."
    verb = "are" if len(ahead.members) > 1 else "is"
    return f"{where} {_models(ahead)} {verb} on average better than {_models(behind)} {shown}."


def recipe_sentence(pair: Pair) -> str:
    """Whether one recipe, with its settings, is better than the other, whatever the seed."""
    if pair.same_setting:
        return f"{_both(pair)} have the same settings but for the seed, so there is no recipe to be judged."
    first, second = pair.first, pair.second
    if min(len(first.members), len(second.members)) < 2:
        return _planned(pair)
    counts = f"Over {len(first.members)} seeds of {first.letter} and {len(second.members)} of {second.letter}"
    if pair.training is None:
        return f"{counts} the results of each are all the same: without a spread there is no test of the recipes."
    return f"{counts} {_tested(pair, pair.training)}"


def _tested(pair: Pair, training: Test) -> str:
    """What Welch's test says, and how far the test sample allows it."""
    found, measure = training.difference, pair.measure
    tested = f"95 % interval of the recipes' difference {{}}; Welch's test, {p_value(training.p)}"
    if not found.sign:
        shown = f"{_difference(pair, found)} ({tested.format(interval(measure, found))})"
        return f"no difference between the recipes can be seen: {shown}.{_limit(pair)}"
    ahead, behind, gain = _turned(pair, found)
    shown = f"by {amount(measure, gain)} ({tested.format(interval(measure, gain))})"
    line = f"the recipe of {ahead.letter} is better than that of {behind.letter} {shown}"
    if not pair.sample.sign:
        return f"{line}, on this test set: it is too small to say the same of other {inputs(pair.first)}."
    return f"{line}." if pair.sample.sign == found.sign else f"{line}, but the test sample speaks for the other."


def _planned(pair: Pair) -> str:
    """What would tell, where a side was trained once."""
    alone = [side for side in (pair.first, pair.second) if len(side.members) < 2]
    seeds = "one seed each" if len(alone) == 2 else f"one seed of {alone[0].letter}"
    start = f"Whether the recipe is better can't be told from {seeds}; "
    trained = _trained_again(pair)
    if pair.detectable is None:
        return f"{start}{trained} would tell."
    known = " and ".join(map(str, pair.spread.seeds))
    found = Estimate(pair.detectable, pair.detectable, pair.detectable)
    chance = f"in {100 * statistics.POWER:.0f} % of cases, going by the spread of {known} seeds"
    return f"{start}{trained} would show a difference of {amount(pair.measure, found)} ({chance})."


def _trained_again(pair: Pair) -> str:
    """The commands that train each side with several seeds."""
    sides = (pair.first, pair.second)
    found = dict.fromkeys(commands.train(side.recipe, side.members[0].facts.params, SEEDS) for side in sides)
    if len(found) == len(sides) and all(found):
        return " and ".join(found)
    # They differ in what is no flag: an architecture, the code, the data.
    bare = dict.fromkeys(f"make train-{side.recipe} SEEDS={SEEDS}" for side in sides)
    return f"{' and '.join(bare)}, with the settings of each,"


def _limit(pair: Pair) -> str:
    """What more seeds would show, where there are fewer."""
    fewer = min(len(pair.first.members), len(pair.second.members)) < SEEDS
    if not fewer or not pair.detectable:
        return ""
    found = Estimate(pair.detectable, pair.detectable, pair.detectable)
    return f" {SEEDS} seeds of each would show one of {amount(pair.measure, found)}."


def _of_several(pairs: Sequence[Pair]) -> str:
    """What is left of several tests once their number is allowed for."""
    start = f"{len(pairs)} comparisons were made, each by itself at {100 * LEVEL:.0f} %"
    tested = [pair for pair in pairs if pair.p is not None]
    if len(tested) < 2:
        return f"{start}: the more there are, the sooner one of them is wrong."
    corrected = statistics.corrected([pair.p for pair in tested])
    left = [pair.name for pair, p in zip(tested, corrected, strict=True) if p < LEVEL]
    kept = f"a difference is left of {', '.join(left)}" if left else "none of the differences is left"
    return f"{start}; with their p-values adjusted together (Benjamini and Hochberg) {kept}."


def inputs(side: Side) -> str:
    """What a side is given."""
    return "texts" if side.task == "sequence" else "images"


def p_value(p: float) -> str:
    """A p-value within a sentence."""
    return f"p {p_number(p)}" if p < SMALLEST else f"p = {p_number(p)}"


def p_number(p: float) -> str:
    """A p-value with two digits that say something."""
    return f"< {SMALLEST:.4f}" if p < SMALLEST else f"{p:.{max(2, 1 - math.floor(math.log10(p)))}f}"


def amount(measure: Measure, found: Estimate) -> str:
    """A value with its unit, in as many digits as its interval allows."""
    return f"{number(measure, found, found.value)}{measure.unit}"


def interval(measure: Measure, found: Estimate) -> str:
    """Both ends of an interval."""
    return f"{number(measure, found, found.low)} to {number(measure, found, found.high)}"


def number(measure: Measure, found: Estimate, value: float, sign: str = "") -> str:
    """A value of a measure, rounded where its interval begins to vary; none that is not 0 becomes 0."""
    half = measure.scale * ((found.high - found.low) or abs(found.value)) / 2
    digits = max(1, -math.floor(math.log10(half)) + (measure.scale == 1)) if half else 1
    ends = [abs(measure.scale * end) for end in (found.value, found.low, found.high) if end]
    while digits < 8 and any(round(end, digits) == 0 for end in ends):
        digits += 1
    return f"{measure.scale * value:{sign},.{digits}f}".replace("-", "−")


def _difference(pair: Pair, found: Estimate) -> str:
    """The difference of two letters that is not surely one."""
    value = number(pair.measure, found, found.value, "+")
    return f"{pair.second.letter} minus {pair.first.letter} is {value}{pair.measure.unit}"


def _turned(pair: Pair, found: Estimate) -> tuple[Side, Side, Estimate]:
    """Who is ahead, who behind, and by how much as a positive number."""
    low, high = sorted((abs(found.low), abs(found.high)))
    gain = Estimate(abs(found.value), low, high)
    ahead = found.sign == pair.measure.better
    return (pair.second, pair.first, gain) if ahead else (pair.first, pair.second, gain)


def _both(pair: Pair) -> str:
    return f"{pair.first.letter} and {pair.second.letter}"


def _models(side: Side) -> str:
    """What the test sample judges: trained models, not recipes."""
    count = len(side.members)
    return f"the {count} models of {side.letter}" if count > 1 else f"the model of {side.letter}"
