"""What ``--precision auto`` is on this machine, and why: what was measured, else what the hardware promises."""

from __future__ import annotations

import importlib.metadata
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras

from data import sealed, store
from pipelines.fitting import devices, replicas


@dataclass(frozen=True)
class Choice:
    """A precision."""

    name: str
    why: str = ""
    """Empty where it was asked for."""


def choose(asked: str, network: str = "") -> Choice:
    """Resolve ``auto``.

    Args:
        asked: a precision, or auto.
        network: what :func:`remember` was told, where its own measurement is to decide.
    """
    if asked != "auto":
        return Choice(asked)
    measured = {} if replicas.HOSTS in os.environ else _measured()  # all hosts must choose alike
    places = {_key(network): "for this network here", _key(): "here, by make doctor's measurement"}
    for key, where in places.items():
        ratio = measured.get(key)
        if isinstance(ratio, float):
            name, times = ("bfloat16", ratio) if ratio > 1 else ("float32", 1 / ratio)
            other = "float32" if ratio > 1 else "bfloat16"
            return Choice(name, f"{name} is {times:.2f} times as fast as {other} {where}")
    if devices.gpus():
        return Choice("bfloat16", "on a GPU")
    if devices.has_bfloat16():
        return Choice("bfloat16", "the CPU has instructions for it")
    return Choice("float32", "the CPU has no instructions for bfloat16")


def knows(network: str) -> bool:
    """Whether this network has been measured on this machine."""
    return isinstance(_measured().get(_key(network)), float)


def remember(ratio: float, network: str = "") -> None:
    """Let ``auto`` be what was measured on this machine from now on, where that can be written down.

    Args:
        ratio: how many times as fast as float32 bfloat16 is.
        network: for which one; empty: for all that have not been measured.
    """
    draft = _place().with_name(f"{_place().name}.{os.getpid()}")
    with suppress(OSError):
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(_measured() | {_key(network): ratio}, indent=1), encoding="utf-8")
        draft.replace(_place())


def _measured() -> dict[str, object]:
    """The ratio for each kind of machine, and for each network on it; nothing where it can't be read."""
    return sealed.unsealed(_place())


def _key(network: str = "") -> str:
    """What a measurement holds for: this hardware with this version of this backend."""
    backend = keras.backend.backend()
    machine = f"{devices.describe()}, {backend} {importlib.metadata.version(backend)}"
    return f"{machine}, {network}" if network else machine


def _place() -> Path:
    return store.root() / "precision.json"
