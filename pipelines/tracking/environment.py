"""What a run was made with: code, versions, and the recorded model's own copy of both."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.tracking import store

if TYPE_CHECKING:
    import numpy as np

PACKAGES = ("data", "models", "pipelines")
"""Ours: their code is recorded with each model, so that a fresh process can load it."""


def versions() -> str:
    """Python, platform and the versions of all installed packages."""
    found = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    lines = [f"{name}=={found[name]}" for name in sorted(found, key=str.lower)]
    return "\n".join([f"# Python {platform.python_version()}, {platform.platform()}", *lines, ""])


def differences(tags: dict[str, str], text: str) -> list[str]:
    """How code and versions differ from those that a run recorded, one line each.

    Args:
        tags: of the run.
        text: its ``environment.txt``.
    """
    now, lines = code_tags(), []
    then = {name: tags.get(name, "unknown") for name in now}
    if then["git.commit"] != now["git.commit"]:
        lines.append(f"its code is commit {then['git.commit'][:12]}, here is {now['git.commit'][:12]}")
    if "true" in (then["git.dirty"], now["git.dirty"]):
        lines.append("files differ from the commit, " + ("then" if then["git.dirty"] == "true" else "now"))
    before, after = ({line for line in part.splitlines() if line} for part in (text, versions()))
    changed = [f"{old} (here {_same_name(old, after)})" for old in sorted(before - after)]
    if changed:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        lines.append(f"its environment had {shown}")
    return lines


def _same_name(line: str, lines: set[str]) -> str:
    """The line about the same package."""
    name = line.partition("==")[0] + "=="
    return next((other.partition("==")[2] for other in lines if other.startswith(name)), "none")


def requirements() -> list[str]:
    """What a recorded model needs to run, pinned to what it was made with."""
    import keras

    names = ["keras", keras.backend.backend(), "mlflow", "numpy", "pandas", "pillow", "scipy"]
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]


def copy_code(folder: Path) -> None:
    """Copy our packages' Python files, without caches and data."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "cache", "*.pyc")
        shutil.copytree(store.ROOT / package, folder / package, ignore=ignored)


def code_tags() -> dict[str, str]:
    """The commit that is checked out, and whether files differ from it; MLflow's own tag looks elsewhere."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(store.ROOT), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return {
        "git.commit": commit or "unknown",
        "git.dirty": "unknown" if changes is None else str(bool(changes)).lower(),
    }


def complete_model(parts: Path, example: np.ndarray, output: np.ndarray) -> None:
    """Write beside a servable what else :func:`saved_model` needs: a real input and output, versions, code."""
    import numpy as np

    np.save(parts / "example.npy", example)
    np.save(parts / "output.npy", output)
    (parts / "requirements.txt").write_text("\n".join(requirements()), encoding="utf-8")
    copy_code(parts / "code")


@contextmanager
def saved_model(parts: Path, run: str, model: object) -> Iterator[Path]:
    """A folder that holds an MLflow model for the time of the block.

    Args:
        parts: the servable, and what :func:`complete_model` wrote.
        run: id of the run that it belongs to.
        model: the store's entry for it.
    """
    import mlflow
    import numpy as np

    example, output = (np.load(parts / f"{name}.npy") for name in ("example", "output"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        mlflow.pyfunc.save_model(
            place,
            loader_module="pipelines.servable",
            data_path=str(parts / "servable"),
            code_paths=[str(parts / "code" / package) for package in PACKAGES],
            signature=_signature(example, output),
            input_example=example.tolist() if example.dtype.kind == "U" else example,
            pip_requirements=(parts / "requirements.txt").read_text(encoding="utf-8").split(),
            mlflow_model=mlflow.models.Model(model.artifact_location, run, model_id=model.model_id),
        )
        yield place


def _signature(example: np.ndarray, output: np.ndarray) -> object:
    """What goes in and what comes out; texts are a column, so that lists and tables of them are taken, too."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types.schema import ColSpec, Schema

    inferred = infer_signature(example, output)
    if example.dtype.kind != "U":
        return inferred
    return ModelSignature(Schema([ColSpec("string")]), inferred.outputs)
