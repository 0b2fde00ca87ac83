"""What ``--precision auto`` is on this machine, and why: what make doctor measured, else what the hardware promises."""

from __future__ import annotations

import importlib.metadata
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras

from data import sealed, store
from pipelines.fitting import devices


@dataclass(frozen=True)
class Choice:
    """A precision."""

    name: str
    why: str = ""
    """Empty where it was asked for."""


def choose(asked: str) -> Choice:
    """Resolve ``auto``."""
    if asked != "auto":
        return Choice(asked)
    ratio = _measured().get(_machine())
    if isinstance(ratio, float):
        why = f"bfloat16 is {ratio:.2f} times as fast as float32 here, by make doctor's measurement"
        return Choice("bfloat16" if ratio > 1 else "float32", why)
    if devices.gpus():
        return Choice("bfloat16", "on a GPU")
    if devices.has_bfloat16():
        return Choice("bfloat16", "the CPU has instructions for it")
    return Choice("float32", "the CPU has no instructions for bfloat16")


def remember(ratio: float) -> None:
    """Let ``auto`` be what was measured on this machine from now on, where that can be written down.

    Args:
        ratio: how many times as fast as float32 bfloat16 is.
    """
    draft = _place().with_name(_place().name + ".new")
    with suppress(OSError):
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(_measured() | {_machine(): ratio}, indent=1), encoding="utf-8")
        draft.replace(_place())


def _measured() -> dict[str, object]:
    """The ratio for each kind of machine; nothing where it can't be read."""
    return sealed.unsealed(_place())


def _place() -> Path:
    return store.root() / "precision.json"


def _machine() -> str:
    """What a measurement holds for: this hardware with this version of this backend."""
    backend = keras.backend.backend()
    return f"{devices.describe()}, {backend} {importlib.metadata.version(backend)}"
