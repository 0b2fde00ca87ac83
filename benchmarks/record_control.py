"""The control of `record`: the record program for 94 % on CIFAR-10, run as it is, with PyTorch and NumPy alone.

usage: PYTHON record_control.py PATH/airbench94_muon.py DATA [RUNS]

DATA is a folder of ``x_train.npy``, ``y_train.npy``, ``x_test.npy``, ``y_test.npy``: images uint8 (N, 32, 32, 3) and
labels (N,). On a GPU the program runs unchanged, its warm-up included. Where there is none, PyTorch is told to stay on
the CPU: float32 weights under bfloat16 autocast, the optimizer's products in float32, no compilation and no warm-up.
Prints one JSON object a run: ``seconds`` of training, evaluation aside; ``epochs``; ``accuracy`` and ``tta_accuracy``,
in percent of the test set.
"""

import contextlib
import importlib.util
import json
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path


class Clock:
    """What ``torch.cuda.Event`` is used for, on a CPU."""

    def __init__(self, **_: object) -> None:
        self.at = 0.0

    def record(self) -> None:
        """Take the time."""
        self.at = time.perf_counter()

    def elapsed_time(self, other: "Clock") -> float:
        """Milliseconds from this to another."""
        return 1e3 * (other.at - self.at)


def write_data(source: Path, target: Path) -> None:
    """CIFAR-10 as the program keeps it."""
    import numpy as np
    import torch

    target.mkdir()
    for part in ("train", "test"):
        images, labels = (torch.from_numpy(np.load(source / f"{name}_{part}.npy")) for name in "xy")
        content = {"images": images, "labels": labels.long(), "classes": list(map(str, range(10)))}
        torch.save(content, target / f"{part}.pt")


def stay_on_cpu() -> None:
    """Replace what only a GPU has, and half precision by the float32 that autocast starts from."""
    import torch

    load = torch.load
    torch.compile = lambda function, **_: function
    for name in ("compile", "cuda", "half", "float"):
        setattr(torch.nn.Module, name, lambda self, *_, **__: self)
    torch.Tensor.half = torch.Tensor.bfloat16 = torch.Tensor.float
    torch.cuda.Event, torch.cuda.synchronize = Clock, lambda: None
    torch.load = lambda path, **_: load(path, map_location="cpu")


def torchvision() -> types.ModuleType:
    """As much of torchvision as the program needs, where it is not installed."""
    import torch

    class Normalize:
        def __init__(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
            self.mean, self.deviation = (torch.as_tensor(value).view(-1, 1, 1) for value in (mean, deviation))

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return (images - self.mean.to(images)) / self.deviation.to(images)

    module, transforms = types.ModuleType("torchvision"), types.ModuleType("torchvision.transforms")
    transforms.Normalize, module.transforms = Normalize, transforms
    sys.modules["torchvision.transforms"] = transforms
    return module


def load_program(path: Path) -> types.ModuleType:
    """The program as a module; it reads its own text by ``sys.argv``."""
    if importlib.util.find_spec("torchvision") is None:
        sys.modules["torchvision"] = torchvision()
    sys.argv = [str(path)]
    spec = importlib.util.spec_from_file_location("record_program", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def autocast(forward: Callable) -> Callable:
    """A forward pass in bfloat16, with logits in float32."""
    import torch

    def cast(*arguments: object, **named: object) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = forward(*arguments, **named)
        return outputs.to(torch.float32)

    return cast


def network(program: types.ModuleType, gpu: bool) -> object:
    """The program's network, made ready as the program does, but for what a CPU can't do."""
    import torch

    model = program.CifarNet().cuda().to(memory_format=torch.channels_last)
    if gpu:
        model.compile(mode="max-autotune")
    else:
        model.forward = autocast(model.forward)
    return model


def main(arguments: list[str]) -> None:
    path, source = (Path(argument).resolve() for argument in arguments[:2])
    runs = int(arguments[2]) if len(arguments) > 2 else 1
    import torch

    gpu = torch.cuda.is_available()
    if not gpu:
        stay_on_cpu()
    epochs: list[dict] = []

    def note(variables: dict, is_final_entry: bool) -> None:
        epochs.append(dict(variables))
        print(f"epoch {variables['epoch']}: {variables['time_seconds']:.1f} s", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        write_data(source, Path(folder) / "cifar10")
        os.chdir(folder)
        program = load_program(path)
        program.print_training_details = note
        model = network(program, gpu)
        for run in [*(["warmup"] if gpu else []), *range(runs)]:
            epochs.clear()
            with contextlib.redirect_stdout(sys.stderr):
                averaged = program.main(run, model)
            *_, last, _ = epochs  # the one after the last is that of test-time averaging
            figures = {"seconds": last["time_seconds"], "epochs": len(epochs) - 1}
            figures |= {"accuracy": 100 * last["val_acc"], "tta_accuracy": 100 * averaged}
            if run != "warmup":
                print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
