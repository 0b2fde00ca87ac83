"""The check-up: what is off gets its line of advice, and whatever is broken, the other checks go on."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

import data
from data import download
from data.download import Unreachable
from data.errors import BadInput
from models.fast import FastNetwork
from pipelines import command, doctor, preparation, train, training
from pipelines.checkup import finding, hardware, places, software, variables
from pipelines.fitting import devices, precision, speed
from pipelines.fitting.speed import Comparison
from pipelines.tracking import health, journal
from pipelines.tracking import store as where
from tests.conftest import QUICK, newest
from tests.test_backends import HIDDEN

ROOT = Path(__file__).resolve().parents[1]


def compared(float32, bfloat16, turns=8):
    return Comparison({"float32": [float32] * turns, "bfloat16": [bfloat16] * turns})


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def check(remote):
        raise Unreachable("no network")

    monkeypatch.setattr(download, "check", check)
    monkeypatch.setenv("KERAS_HOME", "/nonexistent")
    for name in variables.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def quick(monkeypatch):
    """A machine that is measured at once and has all that its lock names."""
    monkeypatch.setattr(speed, "compare", lambda: compared(0.02, 0.01))
    monkeypatch.setattr(hardware, "SIDES", {"cpu": 128})
    monkeypatch.setattr(software, "_locked", lambda lock: iter(()))


def by_name(findings):
    return {found.name: found for found in findings}


def test_shows_all_checks_and_says_the_same_to_machines(run_stage, store, quick):
    data.ingest("digits")
    status, out, err = run_stage(doctor)
    assert (status, err) == (0, "")
    status, plain, err = run_stage(doctor, "--json")
    assert (status, err) == (0, "")
    plain = json.loads(plain)
    assert plain["state"] == "advice"
    findings = {found["name"]: found for found in plain["findings"]}
    assert {"python", "packages", "code", "environment", "memory", "backend", "processor", "GPU"} < set(findings)
    assert {"computing on cpu:0", "precision", "store", "unfinished runs", "disk", "data digits"} < set(findings)
    assert findings["data cifar10"]["advice"] == "make ingest-cifar10 FROM=path, of a copy"
    assert findings["computing on cpu:0"]["data"]["flops"]["bfloat16"] > 1e6
    for name, found in findings.items():
        assert f"│ {name} " in out
        assert found["state"] == ("advice" if found["advice"] else "ok"), found
        assert f"{name}: {found['advice']}\n" in out or not found["advice"]


def test_what_is_broken_ends_with_status_2_and_the_other_checks_go_on(run_stage, store, quick, monkeypatch):
    (store / "mlflow.db").write_bytes(b"no database " * 1000)
    monkeypatch.setattr(hardware, "seen_by_driver", lambda: 1 / 0)
    status, out, err = run_stage(doctor)
    assert status == 2
    assert err == "error: doctor: broken: packages, GPU, store; see the advice above\n"
    assert "ZeroDivisionError" in out
    assert "data cifar10" in out


def test_without_tensorflow_git_home_and_network(tmp_path):
    environment = {**os.environ, "PATH": "", "HOME": "/nonexistent", "KERAS_HOME": str(tmp_path / "keras")}
    environment.pop("KERAS_BACKEND", None)
    code = HIDDEN + "sys.argv = ['doctor', '--json']\nfrom pipelines import command, doctor\n"
    code += "from data import download\ndef check(remote): raise download.Unreachable('no network')\n"
    code += "download.check = check\ncommand.main(doctor.main)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr == "error: doctor: broken: backend; see the advice above\n"
    findings = {found["name"]: found for found in json.loads(done.stdout)["findings"]}
    assert "needs tensorflow" in findings["backend"]["found"]
    assert findings["backend"]["advice"].startswith("make setup, or KERAS_BACKEND=jax")
    assert findings["code"]["data"]["commit"] == "unknown"
    assert findings["store"]["state"] == findings["disk"]["state"] == "ok"
    assert "precision" not in findings


class TestAnyCheck:
    def test_that_never_ends_is_left(self):
        (found,) = finding.examine("disk", threading.Event().wait, patience=0.05)
        assert found.broken
        assert "no answer" in found.found

    def test_that_refuses_says_what_to_do(self):
        def check():
            raise BadInput("is full", "disk", "first; second")

        (found,) = finding.examine("disk", check)
        assert (found.found, found.advice, found.state) == ("disk: is full", "first; second", "broken")


class TestPackages:
    def test_otherwise_than_locked(self, tmp_path, monkeypatch):
        lines = [
            "numpy==1.0 \\",
            "Keras_Tuner==0.1 ; os_name == 'posix'",
            "absent==2.0",
            "colorama==1 ; os_name == 'nt'",
            "rich==0.1 ; python_full_version < '3'",
        ]
        lines += [f"rich=={software.importlib.metadata.version('rich')} \\", "    --hash=sha256:00", "absent-not[x]==1"]
        (tmp_path / "requirements.lock").write_text("\n".join(lines))
        monkeypatch.setattr(software, "ROOT", tmp_path)
        (found,) = software.packages(gpu=False)
        assert set(found.data["differences"]) == {"numpy", "keras-tuner", "absent", "absent-not"}
        assert "make setup" in found.advice
        assert "absent missing, locked 2.0 and 1 more" in found.found

    def test_the_lock_for_gpus_where_a_driver_answers(self):
        (found,) = software.packages(gpu=True)
        assert found.data["lock"] == "requirements-gpu.lock"


class TestBackend:
    def test_that_can_not_train(self, monkeypatch):
        monkeypatch.setenv("KERAS_BACKEND", "nonsense")
        (found,) = software.backend()
        assert (found.broken, found.found) == (True, "nonsense can't train")

    def test_whose_library_does_not_load(self, monkeypatch):
        def start():
            raise ImportError("libcudart.so.12: cannot open shared object file")

        monkeypatch.setattr(command, "start_backend", start)
        (found,) = software.backend()
        assert found.broken
        assert "libcudart.so.12" in found.found

    def test_a_configuration_file_that_changes_results(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        settings = {"floatx": "float16", "image_data_format": "channels_last", "backend": "tensorflow"}
        (tmp_path / "keras.json").write_text(json.dumps(settings))
        found = by_name(software.backend())
        assert found["backend"].state == "ok"
        assert found["keras.json"].data["settings"] == {"floatx": "float16"}
        assert found["keras.json"].advice.startswith("remove floatx")

    @pytest.mark.parametrize("text", ["{", "[]"])
    def test_a_configuration_file_that_is_none(self, text, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        (tmp_path / "keras.json").write_text(text)
        assert [found.state for found in software.backend()] == ["ok"]


def test_variables_that_are_likely_to_be_a_mistake(monkeypatch):
    monkeypatch.setattr(variables, "cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "8")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert [found.data["name"] for found in variables.variables()] == ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"]


class TestHardware:
    def test_a_container_that_gets_a_part_of_the_machine(self, tmp_path, monkeypatch):
        limits = {"cpu.max": "150000 100000\n", "memory.max": "1000000000\n", "memory.current": "600000000\n"}
        for name, text in limits.items():
            (tmp_path / name).write_text(text)
        monkeypatch.setattr(hardware, "CONTROL_GROUP", tmp_path)
        monkeypatch.setattr(hardware, "cores", lambda: 16)
        (found,) = hardware.processor()
        assert found.data["share"] == 1.5
        assert "TF_NUM_INTRAOP_THREADS=2" in found.advice
        (found,) = hardware.memory()
        assert found.data["free"] <= 400e6
        assert "--batch-size" in found.advice

    def test_a_gpu_that_the_backend_does_not_see(self, monkeypatch):
        monkeypatch.setattr(hardware, "seen_by_driver", lambda: ["NVIDIA H200"])
        (found,) = hardware.accelerators()
        assert found.found == "the driver sees 1 (NVIDIA H200), tensorflow sees 0"
        assert "make setup" in found.advice

    def test_a_device_that_computes_nonsense(self, monkeypatch):
        monkeypatch.setattr(hardware, "SIDES", {"cpu": 128})
        monkeypatch.setattr(keras.ops, "conv", lambda inputs, filters, **_: inputs[:, 2:, 2:, :1] * float("nan"))
        (found,) = hardware.computing()
        assert found.broken
        assert found.found.startswith("float32, bfloat16: results differ")


class TestPrecision:
    def test_is_measured(self, monkeypatch):
        monkeypatch.setattr(speed, "LEAST", 1)
        monkeypatch.setattr(speed, "FastNetwork", lambda: FastNetwork(filters=(4,)))
        found = speed.compare(seconds=0, images=2)
        assert found.steps == 1
        assert found.ratio == found.median("float32") / found.median("bfloat16") > 0

    def test_the_slower_one_is_advised_against(self):
        found = hardware.judged(compared(0.01, 0.02), "bfloat16")
        assert found.advice == "auto takes the slower one here: give --precision float32"
        assert "bfloat16 is 0.50 times as fast" in found.found
        assert hardware.judged(compared(0.02, 0.01), "bfloat16").state == "ok"

    def test_chance_is_no_reason(self):
        measured = Comparison({"float32": [1.0, 1.2] * 4, "bfloat16": [1.1] * 8})
        assert measured.faster == ""
        assert hardware.judged(measured, "bfloat16").state == "ok"

    def test_that_was_measured_is_auto_on_this_machine_from_then_on(self, tmp_path, monkeypatch):
        monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
        assert precision.choose("auto").name == "bfloat16"
        monkeypatch.setattr(speed, "compare", lambda: compared(0.01, 0.02))
        (found,) = hardware.precision()
        assert (found.state, found.data["auto"]) == ("ok", "float32")
        assert "float32 is 2.00 times as fast as bfloat16 here" in precision.choose("auto").why
        assert precision.choose("bfloat16") == precision.Choice("bfloat16")
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(devices, "describe", lambda: "another CPU")
            assert precision.choose("auto").name == "bfloat16"
        (tmp_path / "cache" / "precision.json").write_text("{")
        assert precision.choose("auto").name == "bfloat16"

    def test_of_a_network_decides_for_this_network_alone(self, monkeypatch):
        monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
        precision.remember(0.8, "a perceptron")
        assert (
            precision.choose("auto", "a perceptron").why
            == "float32 is 1.25 times as fast as bfloat16 for this network here"
        )
        assert precision.choose("auto", "another").name == precision.choose("auto").name == "bfloat16"
        assert precision.knows("a perceptron")
        assert not precision.knows("another")

    def test_that_can_not_be_kept_is_advice(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("DATA_CACHE", str(tmp_path / "file" / "cache"))
        monkeypatch.setattr(devices, "has_bfloat16", lambda: True)
        monkeypatch.setattr(speed, "compare", lambda: compared(0.01, 0.02))
        (found,) = hardware.precision()
        assert "--precision float32" in found.advice

    def test_an_interrupted_training_keeps_its_own(self, store, run_stage, when_printed, monkeypatch):
        def interrupt():
            raise KeyboardInterrupt

        precision.remember(0.5)
        when_printed("initial loss", interrupt)
        status, out, _ = run_stage(train, QUICK[0], "--epochs", 1, "--data.limit", 200)
        assert status == 130
        assert "in float32 (float32 is 2.00 times as fast as bfloat16 here, by make doctor's measurement)" in out
        precision.remember(2.0)
        seen = []
        make = training.make_trainer
        monkeypatch.setattr(training, "make_trainer", lambda *given: seen.append(make(*given)) or seen[0])
        status, _, err = run_stage(train, QUICK[0], "--resume", "last")
        assert status == 0, err
        assert seen[0].precision == newest().data.tags["precision"] == "float32"


class TestStore:
    def test_is_written_to_without_a_trace(self, store):
        before = {path.name: path.read_bytes() for path in store.iterdir() if path.is_file()}
        (found,) = places.store()
        assert found.state == "ok"
        assert "can be written" in found.found
        after = {path.name: path.read_bytes() for path in store.iterdir() if path.is_file() if path.suffix != ".lock"}
        assert after == {name: content for name, content in before.items() if not name.endswith(".lock")}

    def test_that_is_not_there_yet_stays_so(self, tmp_path):
        (found,) = places.store()
        assert found.state == "ok"
        assert not (tmp_path / "runs").exists()

    def test_of_another_version(self, store):
        with closing(sqlite3.connect(store / "mlflow.db")) as database, database:
            database.execute("UPDATE alembic_version SET version_num = '181f10493468'")
        (found,) = places.store()
        assert found.broken
        assert f"mlflow db upgrade sqlite:///{store}/mlflow.db" in found.advice

    def test_that_another_process_holds(self, store, monkeypatch):
        monkeypatch.setattr(health, "PATIENCE", 0.1)
        with closing(sqlite3.connect(store / "mlflow.db")) as database:
            database.execute("BEGIN IMMEDIATE")
            (found,) = places.store()
        assert found.broken
        assert "locked" in found.found

    def test_a_server_that_is_down(self, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
        (found,) = places.store()
        assert found.broken
        assert found.found == "http://127.0.0.1:9: can't be reached"
        assert "start that server" in found.advice

    def test_a_server_is_written_what_it_holds_already(self, store):
        client = where.connect()
        assert "was not written to" in health._write_same(client)
        number = where.experiment(client, "digits")
        before = client.get_experiment(number)
        assert health._write_same(client) == "can be written"
        assert dict(client.get_experiment(number)) == dict(before)

    def test_runs_that_wait(self, store):
        (found,) = places.runs()
        assert found.state == "ok"
        header = {"id": "1f", "name": "cifar-1", "recipe_name": "cifar", "started": 1.0, "continues": True}
        header |= {"store": where.public(where.uri())}
        journal.create(where.unfinished() / "1f", header)
        (found,) = places.runs()
        assert found.advice == "for the newest: make train-cifar RESUME=1f"


class TestDisk:
    @pytest.mark.parametrize(("free", "state"), [(1e6, "broken"), (500e6, "advice"), (2e9, "ok")])
    def test_is_to_have_room_for_the_default_run(self, free, state, store, monkeypatch):
        monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
        (found,) = places.disk()
        assert found.state == state
        assert found.data["needed"] == sum(found.data["parts"].values()) > 400e6

    def test_a_place_that_can_not_be_written(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("DATA_CACHE", str(tmp_path / "file" / "cache"))
        found = by_name(places.disk())
        assert found["disk for data"].broken
        assert found["disk"].state == "ok"


class TestData:
    @pytest.fixture
    def place(self, tmp_path):
        data.ingest("digits")
        return tmp_path / "cache" / "digits" / "embedded"

    def test_whole_and_damaged(self, place):
        said = []
        assert by_name(places.data(said.append))["data digits"].state == "ok"
        assert "reading digits" in said[0]
        path = next(place.glob("*/x*.npy"))
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
        found = by_name(places.data(said.append))["data digits"]
        assert found.broken
        assert found.advice == "run make ingest-digits again"

    def test_a_manifest_that_is_none(self, place):
        (place / "manifest.json").write_text("{}")
        found = by_name(places.data(print))["data digits"]
        assert found.broken
        assert found.advice == f"remove {place} and run make ingest-digits"

    def test_the_default_dataset_can_be_fetched(self, monkeypatch):
        monkeypatch.setattr(download, "check", lambda remote: None)
        (found,) = places.data(print)
        assert (found.state, found.data["source"]) == ("ok", "official")


def test_a_long_training_measures_once_which_precision_is_faster(store, capsys, monkeypatch):
    monkeypatch.setattr(preparation, "LONG", 1)
    printed = []
    for _ in range(2):
        assert command.run(train.main, ["digits-mlp", "--epochs", "1"]) == 0
        printed.append(capsys.readouterr().out)
    assert ["is measured" in text for text in printed] == [True, False]
    because = r"in (\w+) \((\w+) is [\d.]+ times as fast as \w+ for this network here\)"
    reasons = [re.search(because, text) for text in printed]
    assert reasons[0][0] == reasons[1][0]
    assert reasons[0][1] == reasons[0][2], "the faster one is taken"
