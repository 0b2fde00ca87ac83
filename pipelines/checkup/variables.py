"""Environment variables that change results or speed, where that is likely to be a mistake."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from pipelines.checkup.finding import Finding
from pipelines.checkup.hardware import cores


def _on(value: str) -> bool:
    return value.lower() not in ("", "0", "false")


def _below_cores(value: str) -> bool:
    return value.isdecimal() and 0 < int(value) < cores()


FEWER = "computes on fewer threads than there are cores: unset it where a training has the machine to itself"

VARIABLES: dict[str, tuple[Callable[[str], bool], str]] = {
    "CUDA_VISIBLE_DEVICES": (lambda value: value in ("", "-1"), "hides every GPU: unset it to train on one"),
    "JAX_DISABLE_JIT": (_on, "makes JAX many times slower: unset it"),
    "JAX_DISABLE_MOST_OPTIMIZATIONS": (_on, "makes JAX slower: unset it"),
    "JAX_ENABLE_X64": (_on, "lets JAX compute in 64 bits: unset it"),
    "JAX_PLATFORMS": (lambda value: value == "cpu", "hides every GPU from JAX: unset it to train on one"),
    "KERAS_MAX_EPOCHS": (bool, "cuts every training short: unset it"),
    "KERAS_MAX_STEPS_PER_EPOCH": (bool, "cuts every epoch short: unset it"),
    "OMP_NUM_THREADS": (_below_cores, FEWER),
    "TF_DETERMINISTIC_OPS": (_on, "slows training down: prefer --deterministic"),
    "TF_ENABLE_ONEDNN_OPTS": (lambda value: value == "0", "slows TensorFlow down on a CPU: unset it"),
    "TF_NUM_INTEROP_THREADS": (_below_cores, FEWER),
    "TF_NUM_INTRAOP_THREADS": (_below_cores, FEWER),
    "TF_XLA_FLAGS": (bool, "changes speed and results: unset it unless it is meant"),
    "XLA_FLAGS": (bool, "changes speed and results: unset it unless it is meant"),
}
"""Which values are likely to be a mistake, and why. None of them holds a secret."""


def variables() -> Iterator[Finding]:
    """Those that are set to such a value."""
    found = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    odd = {name: value for name, value in found.items() if VARIABLES[name][0](value)}
    for name, value in odd.items():
        yield Finding("environment", f"{name}={value}", {"name": name, "value": value}, f"{name} {VARIABLES[name][1]}")
    if not odd:
        yield Finding("environment", f"none of {len(VARIABLES)} variables that change results or speed is amiss")
