"""A recipe's optimizer as a Keras object."""

from collections.abc import Mapping, Sequence

import keras

from data.errors import BadInput, reason
from pipelines.fitting.muon import FilterMuon
from pipelines.fitting.schedules import Scheduled
from pipelines.settings import Optimizer


def build_optimizer(
    settings: Optimizer, learning_rate: Scheduled | float, factors: Mapping[int, float]
) -> keras.optimizers.Optimizer:
    """The optimizer with everything that the settings ask for.

    Args:
        settings: which one.
        learning_rate: of most variables.
        factors: on the learning rate of some variables, by their ``id``.

    Raises:
        BadInput: Keras does not know its name or one of its arguments.
    """
    arguments = {"learning_rate": learning_rate, **settings.arguments}
    if settings.weight_decay:
        arguments["weight_decay"] = settings.weight_decay
    if settings.clipnorm:
        arguments["global_clipnorm"] = settings.clipnorm
    if settings.accumulation > 1:
        arguments["gradient_accumulation_steps"] = settings.accumulation
    if settings.ema:
        arguments |= {"use_ema": True, "ema_momentum": settings.ema}
    try:
        kind = _class(settings.name)
        optimizer = _by_variable(kind)(factors=factors, **arguments) if factors else kind(**arguments)
    except (TypeError, ValueError) as error:
        raise BadInput(reason(error), "--optimizer.arguments", f"see Keras' {settings.name}") from None
    # Penalizing an offset or a normalization's scale regularizes nothing.
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def _class(name: str) -> type[keras.optimizers.Optimizer]:
    known = {FilterMuon.__name__.lower(): FilterMuon}
    for attribute in vars(keras.optimizers).values():
        if isinstance(attribute, type) and issubclass(attribute, keras.optimizers.Optimizer):
            known[attribute.__name__.lower()] = attribute
    known.pop("optimizer", None)
    plain = name.lower().replace("_", "")
    if plain not in known:
        raise BadInput(f"no optimizer {name}", "--optimizer.name", f"there are {', '.join(sorted(known))}")
    return known[plain]


def _by_variable(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """The same kind of optimizer with a learning rate for each variable, which Keras does not have."""

    class ByVariable(kind):
        def __init__(self, factors: Mapping[int, float], **arguments: object) -> None:
            super().__init__(**arguments)
            self._factors = factors
            self._factor_of: list[float] = []

        def build(self, variables: Sequence[keras.Variable]) -> None:
            super().build(variables)
            self._factor_of = [self._factors.get(id(variable), 1.0) for variable in variables]

        def update_step(self, gradient: object, variable: object, learning_rate: object) -> None:
            factor = self._factor_of[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * factor)

    ByVariable.__name__ = kind.__name__
    return ByVariable
