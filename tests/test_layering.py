"""The lines of the design: who may import whom, and what nothing imports."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("data", "models", "pipelines")
STAGES = {
    "augment",
    "compare",
    "doctor",
    "evaluate",
    "ingest",
    "predict",
    "register",
    "reproduce",
    "serve",
    "sync",
    "train",
    "transfer",
    "tune",
    "ui",
}


def modules():
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "cache" not in path.parts)


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == {name_of(path) for path in modules() if path.name == "__init__.py"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path):
    package, found = name_of(path).split(".")[0], imports(path)
    if package == "data":
        assert not any(name.split(".")[0] in ("models", "pipelines", "keras") for name in found)
    if package == "models":
        allowed = {"data.spec", "data.errors"}
        ours = {name for name in found if name.split(".")[0] in ("data", "pipelines")}
        assert all(any(name == ok or name.startswith(f"{ok}.") for ok in allowed) for name in ours)
    stages = {f"pipelines.{stage}" for stage in STAGES}
    assert not found & stages, "stages do not import stages"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_libraries_stay_in_their_place(path):
    name, found = name_of(path), {item.split(".")[0] for item in imports(path)}
    assert "mlflow" not in found or name.startswith("pipelines.tracking")
    at_top = {item.split(".")[0] for item in imports(path, top_level_only=True)}
    assert not at_top & {"tensorflow", "jax", "torch"}
    assert path.stem != "utils"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_files_can_be_read_in_one_sitting(path):
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 300
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 45
    ]
    assert not long


def test_every_module_imports_without_tensorflow():
    code = "import sys, importlib\nsys.modules['tensorflow'] = None\n"
    code += f"for name in {[name_of(path) for path in modules()]}: importlib.import_module(name)\n"
    code += "import keras; assert keras.backend.backend() == 'numpy'"
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_records_are_read_without_keras():
    code = """
import sys
from pipelines import recipes, settings
for name in recipes.summaries():
    recipe = recipes.find(name)
    assert settings.from_dict(settings.to_dict(recipe)) == recipe
assert "keras" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_help_imports_nothing_heavy(stage):
    arguments = ["cifar", "--help"] if stage in ("train", "augment") else ["--help"]
    code = f"""
import sys
from pipelines import {stage}
try:
    {stage}.main({arguments})
except SystemExit as end:
    assert not end.code
heavy = {{"keras", "tensorflow", "mlflow", "sklearn", "pandas", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 2
