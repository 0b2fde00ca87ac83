"""The hardware: cores, memory, accelerators, whether each device really computes, and which precision is faster."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.checkup.finding import Finding, failed

if TYPE_CHECKING:
    from pipelines.fitting.speed import Comparison

MEMORY = 2.0e9
"""Bytes of the default run at its peak, on a CPU: 1.8e9 measured in bfloat16."""

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where a container sees its own limits."""

TOLERANCES = {"float32": 1e-2, "bfloat16": 5e-2}
"""Of the largest value; a GPU may multiply float32 in 10 bits of it."""

SIDES = {"cpu": 1024, "gpu": 4096}
"""Of the square matrices that are multiplied."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> Iterator[Finding]:
    """The CPU, and how much of it may be used."""
    from pipelines.fitting import devices

    usable, all_cores, share = cores(), os.cpu_count() or 1, _share()
    data = {"name": devices.cpu(), "cores": usable, "of": all_cores, "share": share, "bfloat16": devices.has_bfloat16()}
    words = f"{devices.cpu()}, {usable} of {all_cores} cores" + (", bfloat16" if data["bfloat16"] else "")
    advice = ""
    if share and share < usable - 0.5:
        words += f", of which a limit of this container leaves {share:g}"
        whole = max(1, round(share))
        advice = f"libraries start a thread for each core: set TF_NUM_INTRAOP_THREADS={whole} OMP_NUM_THREADS={whole}"
    yield Finding("processor", words, data, advice)


def _share() -> float:
    """How many cores' time a container may take, 0 for no limit."""
    quota, _, period = _limit("cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else 0.0


def _limit(name: str) -> str:
    with suppress(OSError):
        return (CONTROL_GROUP / name).read_text(encoding="ascii").strip()
    return ""


def memory() -> Iterator[Finding]:
    """Free memory, against what the default run takes."""
    import psutil

    free, whole = psutil.virtual_memory().available, psutil.virtual_memory().total
    limit, used = _limit("memory.max"), _limit("memory.current")
    if limit.isdecimal() and used.isdecimal():
        free, whole = min(free, int(limit) - int(used)), min(whole, int(limit))
    words = f"{free / 1e9:.1f} of {whole / 1e9:.1f} GB free; the default run takes {MEMORY / 1e9:.1f}"
    advice = "" if free > MEMORY else "end other programs, or train with a smaller --batch-size"
    yield Finding("memory", words, {"free": free, "total": whole, "needed": int(MEMORY)}, advice)


def seen_by_driver() -> list[str]:
    """The names of the GPUs that NVIDIA's driver sees."""
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(number)) for number in range(count)]
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, no GPU
        return []
    return names


def accelerators() -> Iterator[Finding]:
    """GPUs, as the driver and as the backend see them."""
    import keras

    from pipelines.fitting import devices

    driver, ours = seen_by_driver(), devices.gpus()
    data = {"driver": driver, "backend": ours}
    if len(driver) > len(ours):
        words = f"the driver sees {len(driver)} ({driver[0]}), {keras.backend.backend()} sees {len(ours)}"
        advice = "rm -r .venv and make setup, which installs CUDA's libraries where nvidia-smi answers"
        if keras.backend.backend() != "tensorflow":
            advice = f"install {keras.backend.backend()} with CUDA"
        yield Finding("GPU", words, data, f"{advice}; see CUDA_VISIBLE_DEVICES")
        return
    yield Finding("GPU", ", ".join(ours) or "none", data)


def computing() -> Iterator[Finding]:
    """Whether each device computes what NumPy does, and how fast."""
    from pipelines.fitting import devices

    yield from _computing("cpu:0", "cpu")
    for number, _ in enumerate(devices.gpus()):
        yield from _computing(f"gpu:{number}", "gpu")


def _computing(device: str, kind: str) -> Iterator[Finding]:
    name, speeds, errors = f"computing on {device}", {}, {}
    try:
        for precision in TOLERANCES:
            error, speeds[precision] = _product(device, precision, SIDES[kind])
            errors[precision] = max(error, _convolution(device, precision))
    except Exception as error:  # each backend raises its own where a device does not work
        yield failed(name, error, f"mend its driver, or hide {device} from the backend")
        return
    words = ", ".join(f"{precision} {speed / 1e9:,.0f} GFLOP/s" for precision, speed in speeds.items())
    data = {"device": device, "flops": speeds, "errors": errors}
    wrong = [precision for precision, error in errors.items() if error > TOLERANCES[precision]]
    if wrong:
        found = f"{', '.join(wrong)}: results differ from NumPy's by {max(errors.values()):.1%}"
        yield Finding(name, found, data, f"do not train on {device}: mend its driver or libraries", broken=True)
        return
    yield Finding(name, f"{words}, as NumPy has it", data)


def _product(device: str, precision: str, side: int) -> tuple[float, float]:
    """A matrix product: its error, and operations in a second at the best of ten times."""
    import keras

    ops = keras.ops
    generator = np.random.default_rng(0)
    first, second = (generator.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    with keras.device(device):
        left, right = (ops.convert_to_tensor(part, dtype=precision) for part in (first, second))
        got = ops.convert_to_numpy(ops.cast(ops.matmul(left, right)[:64], "float32"))
        times = []
        for _ in range(10):
            begin = time.perf_counter()
            ops.convert_to_numpy(ops.matmul(left, right)[:1, :1])  # which waits for the whole product
            times.append(time.perf_counter() - begin)
    return _error(got, first[:64] @ second), 2 * side**3 / min(times)


def _convolution(device: str, precision: str) -> float:
    """The error of a 3x3 convolution."""
    import keras

    ops = keras.ops
    generator = np.random.default_rng(0)
    images = generator.standard_normal((4, 18, 18, 16), dtype=np.float32)
    kernel = generator.standard_normal((3, 3, 16, 32), dtype=np.float32)
    with keras.device(device):
        inputs, filters = (ops.convert_to_tensor(part, dtype=precision) for part in (images, kernel))
        outputs = ops.conv(inputs, filters, padding="valid", data_format="channels_last")
        got = ops.convert_to_numpy(ops.cast(outputs, "float32"))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    return _error(got, np.einsum("nhwcij,ijcf->nhwf", windows, kernel, optimize=True))


def _error(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of the largest value; all of it where there are no numbers."""
    if not np.isfinite(got).all():
        return 1.0
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def precision() -> Iterator[Finding]:
    """Which precision a measurement finds faster; ``auto`` takes that from now on."""
    from pipelines.fitting import precision as known
    from pipelines.fitting import speed

    measured = speed.compare()
    if measured.faster:
        known.remember(measured.ratio)
    yield judged(measured, known.choose("auto").name)


def judged(measured: Comparison, chosen: str) -> Finding:
    """The finding that a measurement makes of the precision that ``auto`` takes from now on."""
    each = ", ".join(f"{name} {1000 * measured.median(name):.0f} ms" for name in measured.seconds)
    verdict = f"bfloat16 is {measured.ratio:.2f} times as fast" + ("" if measured.faster else ", not clearly so")
    data = {"auto": chosen, "faster": measured.faster, "ratio": measured.ratio, "steps": measured.steps}
    data["seconds"] = {name: measured.median(name) for name in measured.seconds}
    slower = measured.faster and measured.faster != chosen
    advice = f"auto takes the slower one here: give --precision {measured.faster}" if slower else ""
    found = f"auto takes {chosen}; a training step in {each}: {verdict}"
    return Finding("precision", found, data, advice)
