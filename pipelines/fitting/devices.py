"""What the training runs on, and in which precision."""

import os
import platform
from contextlib import suppress
from pathlib import Path

import keras

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Instruction sets by which a CPU multiplies bfloat16 faster than float32."""

TOGETHER = 16
"""Steps that an accelerator is given at once, at most."""


def gpus() -> list[str]:
    """The names of the accelerators that the Keras backend sees."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in found]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return []


def describe() -> str:
    """The device in words, for the record."""
    import psutil

    found = gpus()
    if found:
        return f"{len(found)} x {found[0]}"
    return f"CPU {cpu()}, {psutil.cpu_count()} cores"


def cpu() -> str:
    """The name of the CPU."""
    return _cpu_field("model name") or platform.processor() or platform.machine()


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16."""
    return bool(BFLOAT16_FLAGS & set(_cpu_field("flags").split()))


def make_deterministic(threads: int) -> None:
    """Let the backend repeat every computation bit for bit, on so many threads; before it computes anything."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads)


def suit_small_operations() -> None:
    """Let TensorFlow spend its threads on operations side by side, one each, where it has not computed anything yet.

    The two directions of a recurrent network then run at once, each on a core, and no product of a time step waits for
    two threads to meet: two thirds of the time (benchmarks/recurrent_speed.py).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with suppress(RuntimeError):  # it has computed
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(os.cpu_count() or 1)


def steps_together(ends: int) -> int:
    """How many steps are handed to the device before their results are waited for, a part of so many.

    On JAX an accelerator would else stand idle while Python prepares the next step.

    Args:
        ends: steps after which the training may have to end or to show where it is, each time.
    """
    if keras.backend.backend() != "jax" or not gpus():
        return 1
    return max(count for count in range(1, TOGETHER + 1) if ends % count == 0)


def policy(precision: str) -> str:
    """Keras' name: bfloat16 is always mixed, with float32 weights and a float32 last layer."""
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"


def _cpu_field(name: str) -> str:
    """A field of /proc/cpuinfo, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
