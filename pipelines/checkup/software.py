"""The software: Python, libraries, our code, and the backend with its configuration."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from data import sealed
from pipelines import command
from pipelines.checkup.finding import Finding, failed

BACKENDS = ("tensorflow", "jax", "torch")

SHOWN = ("keras", *BACKENDS, "keras-tuner", "mlflow", "numpy")
"""Libraries whose versions are named, where they are installed."""

USUAL = {"floatx": "float32", "image_data_format": "channels_last"}
"""Keras' settings that every recipe means."""

ROOT = Path(__file__).resolve().parents[2]


def python() -> Iterator[Finding]:
    """The interpreter's version, against those that the libraries have wheels for."""
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info < (3, 14)
    advice = "" if fits else "take Python 3.11, 3.12 or 3.13: make setup PYTHON=python3.11"
    data = {"version": version, "executable": sys.executable, "platform": platform.platform()}
    yield Finding("python", f"{version} on {platform.platform()}", data, advice, broken=not fits)


def packages(gpu: bool) -> Iterator[Finding]:
    """The libraries' versions, against the lock that make setup installs: the one for GPUs or the other."""
    from packaging.utils import canonicalize_name

    installed = {canonicalize_name(item.metadata["Name"]): item.version for item in importlib.metadata.distributions()}
    shown = {name: installed[name] for name in SHOWN if name in installed}
    words = ", ".join(f"{name} {version}" for name, version in shown.items())
    lock = ROOT / ("requirements-gpu.lock" if gpu else "requirements.lock")
    data: dict[str, object] = {"versions": shown, "lock": lock.name, "differences": {}}
    if not lock.exists():
        yield Finding("packages", words, data | {"lock": ""})
        return
    different = {}
    for name, wanted in _locked(lock):
        here = installed.get(name)
        if here != wanted:
            different[name] = f"{here or 'missing'}, locked {wanted}"
    data["differences"] = different
    if not different:
        yield Finding("packages", f"{words}; all as in {lock.name}", data)
        return
    some = "; ".join(f"{name} {which}" for name, which in list(different.items())[:3])
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    found = f"{words}; otherwise than in {lock.name}: {some}{more}"
    yield Finding("packages", found, data, "rm -r .venv and make setup, for what is locked")


def _locked(lock: Path) -> Iterator[tuple[str, str]]:
    """Name and version of each package that is locked for this machine and Python."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in lock.read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():  # not the hashes
            wanted = Requirement(line.rstrip(" \\"))
            if wanted.marker is None or wanted.marker.evaluate():
                yield canonicalize_name(wanted.name), next(iter(wanted.specifier)).version


def code() -> Iterator[Finding]:
    """Which commit of this project runs."""
    from pipelines.tracking import environment

    tags = environment.code_tags()
    commit, dirty = tags["git.commit"], tags["git.dirty"]
    files = {"true": ", with changes of yours", "false": "", "unknown": ""}[dirty]
    yield Finding("code", f"commit {commit[:12]}{files}", {"commit": commit, "dirty": dirty})


def backend() -> Iterator[Finding]:
    """Whether Keras' backend can be imported, and what a configuration file of Keras' changes."""
    path = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "keras.json"
    configured = sealed.unsealed(path)  # Keras, too, passes over one that it can't read
    name = os.environ.get("KERAS_BACKEND", configured.get("backend", "tensorflow"))
    data = {"name": name, "configuration": str(path) if configured else ""}
    if name not in BACKENDS:
        advice = "set KERAS_BACKEND to tensorflow, jax or torch"
        yield Finding("backend", f"{name} can't train", data, advice, broken=True)
        return
    try:
        command.start_backend()
    except Exception as error:  # a library that is there and can't be loaded raises what it likes
        others = [other for other in BACKENDS if other != name and importlib.util.find_spec(other)]
        do = "make setup" if name == "tensorflow" else f"install {name}"
        advice = do + "".join(f", or KERAS_BACKEND={other}" for other in others)
        yield Finding("backend", failed("backend", error).found, data, advice, broken=True)
        return
    yield Finding("backend", f"{name}, by KERAS_BACKEND" if "KERAS_BACKEND" in os.environ else name, data)
    usual = USUAL | ({} if "KERAS_BACKEND" in os.environ else {"backend": "tensorflow"})
    odd = {key: configured[key] for key in usual if configured.get(key, usual[key]) != usual[key]}
    if odd:
        words = ", ".join(f"{key} {value}" for key, value in odd.items())
        advice = f"remove {', '.join(odd)} from that file: recipes and results mean Keras' own settings"
        yield Finding("keras.json", f"{path} sets {words}", {"path": str(path), "settings": odd}, advice)
