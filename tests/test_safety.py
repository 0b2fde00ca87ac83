"""Files of trained networks that would do more than compute: each is refused in one line, and nothing is done."""

import pickletools
import sys
import warnings
import zipfile
from functools import partial

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzzing import networks
from benchmarks.fuzzing.networks import ASKING, WEIGHTS, packed, parts, with_config, with_lambda, with_weights
from data.errors import BadInput
from models import safety
from models.parts import trunks
from pipelines import evaluate, export, predict, reproduce, serve, sources, train, training, transfer
from tests.conftest import newest

FEW = ("--data.name", "digits", "--data.limit", "100", "--augmentation.flip", "none", "--epochs", "2")


@pytest.fixture
def marker(tmp_path):
    """A file that is there once something has been executed."""
    return tmp_path / "executed"


@pytest.fixture(scope="module")
def harmless(tmp_path_factory):
    """A small network of images in a .keras file."""
    place = tmp_path_factory.mktemp("harmless") / "network.keras"
    networks.harmless(place)
    return place


@pytest.mark.parametrize("change", ASKING.values(), ids=ASKING.keys())
def test_what_a_configuration_asks_for_beyond_a_network_is_refused(change, harmless, tmp_path, marker):
    place = with_config(tmp_path / "network.keras", harmless, change)
    place = packed(place, {name: part.replace(b"MARKER", str(marker).encode()) for name, part in parts(place).items()})
    refused(place, "network.keras: its layer 'conv' ")
    assert not marker.exists()


def refused(place, words):
    with pytest.raises(BadInput) as found:
        trunks.opened(place)
    line = str(found.value)
    assert words in line
    assert line.endswith(safety.TRUST)
    assert "\n" not in line


def test_a_lambda_layer_runs_with_trust_alone(tmp_path, marker):
    place = with_lambda(tmp_path / "network.keras", marker)
    refused(place, "its layer 'sly' is a Lambda, which carries code")
    assert not marker.exists()
    trunks.opened(place, trust=True)(np.zeros((1, 8, 8, 1), np.float32))
    assert marker.exists()


@pytest.mark.parametrize(("change", "words"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_lie_elsewhere_are_refused(change, words, harmless, tmp_path):
    place = with_weights(tmp_path / "network.keras", harmless, change)
    refused(place, words)
    alone = tmp_path / "mine.weights.h5"
    alone.write_bytes(parts(place)["model.weights.h5"])
    with pytest.raises(BadInput, match=words):
        safety.check_weights(alone)


def test_a_configuration_can_not_ask_for_more_weights_than_there_are(harmless, tmp_path):
    make = keras.layers.Layer.add_weight
    for units in (10**12, 10**6):
        vast = with_config(tmp_path / "network.keras", harmless, partial(networks.vast_layer, units=units))
        refused(vast, f"its layers would have {108 * units + 30:,} weights or more, and it holds 466")
    assert keras.layers.Layer.add_weight is make
    assert trunks.opened(harmless).count_params() == 466


def test_archives_that_keras_does_not_write_are_refused(harmless, tmp_path):
    content = parts(harmless)
    for name in ("assets/../../evil", "/etc/evil", "code.py", "assets\\..\\evil", "model.weights.npz"):
        refused(packed(tmp_path / "network.keras", {**content, name: b"x"}), "which Keras does not write")
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "twice.keras", "w") as archive:
        for name in (*content, "config.json"):
            archive.writestr(name, content[name])
    refused(tmp_path / "twice.keras", "it holds a part twice")
    bomb = {**content, "assets/vocabulary.txt": bytes(safety.FLOOR + 1)}
    refused(packed(tmp_path / "bomb.keras", bomb), "would take 64 MiB in memory, of 0.1 in the file")


def test_another_ending_does_not_lead_keras_to_another_format(tmp_path, marker):
    """CVE-2025-9905: a model in legacy HDF5, whose lambdas Keras unmarshals in safe mode, too."""
    place = with_lambda(tmp_path / "network.keras", marker)
    network = trunks.opened(place, trust=True)
    network.save(tmp_path / "network.h5")
    both = (tmp_path / "network.h5").read_bytes() + place.read_bytes()
    (tmp_path / "both.h5").write_bytes(both)
    assert zipfile.is_zipfile(tmp_path / "both.h5")
    for name in ("network.h5", "both.h5"):
        with pytest.raises(ValueError, match=r"does not end in \.keras"):
            trunks.opened(tmp_path / name)
    assert not marker.exists()


def test_strange_configurations_are_one_line(harmless, tmp_path):
    strange = ('{"class_name": 7}', '{"class_name": [], "module": {}}', '{"class_name": "function", "config": {}}')
    for config in ("[" * 100_000, "7", "{}", *strange):
        place = packed(tmp_path / "network.keras", {**parts(harmless), "config.json": config})
        with pytest.raises(BadInput, match=r"network\.keras: "):
            sources._file(place, trust=False)


class TestRecorded:
    """Models in a store that somebody else can write into."""

    @pytest.fixture
    def model(self, trained, store):
        """The folder of the recorded model."""
        return next(store.rglob("MLmodel")).parent

    def test_nothing_in_it_is_a_pickle_and_its_loader_is_ours(self, model):
        assert "loader_module: pipelines.servable\n" in (model / "MLmodel").read_text()
        files = [path for path in model.rglob("*") if path.is_file()]
        assert {"model.keras", "servable.json", "servable.py"} <= {path.name for path in files}
        inside = [part for path in files if path.suffix == ".keras" for part in parts(path).values()]
        for content in [path.read_bytes() for path in files] + inside:
            assert not is_pickle(content)
        assert is_pickle(b"\x80\x04K\x01.")

    def test_code_that_lies_with_it_is_not_executed(self, model, run_stage, marker, tmp_path, monkeypatch):
        code = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nfrom pipelines.servable import _load_pyfunc\n"
        for name in ("evil", "models/__init__", "pipelines/servable", "data/text"):
            with (model / "code" / f"{name}.py").open("a") as file:
                file.write(code)
        described = model / "MLmodel"
        described.write_text(described.read_text().replace("loader_module: pipelines.servable", "loader_module: evil"))
        (model / "python_model.pkl").write_bytes(b"cpathlib\nPath\n.")
        for ask in ASKED:
            assert run_stage(*ask(tmp_path))[0] == 0
        assert not marker.exists()
        before = list(sys.path)
        monkeypatch.delitem(sys.modules, "evil", raising=False)
        assert run_stage(predict, "last", image(tmp_path), "--trust")[0] == 0
        assert marker.exists()
        assert sys.path == before

    def test_code_in_it_needs_trust(self, model, run_stage, marker, tmp_path, capfd):
        with_lambda(model / "data" / "servable" / "model.keras", marker, classes=10)
        capfd.readouterr()  # what TensorFlow says as it is used first
        for ask in ASKED + OTHERS:
            status, _, err = run_stage(*ask(tmp_path))
            assert (status, err.count("\n")) == (2, 1)
            assert "run digits-mlp" in err
            assert "its layer 'sly' is a Lambda, which carries code; if you trust whoever made it: --trust" in err
        assert not marker.exists()
        assert run_stage(evaluate, "last", "--trust")[0] == 0
        assert marker.exists()

    def test_one_that_other_code_has_recorded_says_so(self, model, run_stage, tmp_path):
        def change(layers, config):
            config["config"]["layers"][1].update(registered_name="pipelines>Since", class_name="Since", module=None)

        place = model / "data" / "servable" / "model.keras"
        with_config(place, place, change)
        status, _, err = run_stage(predict, "last", image(tmp_path))
        assert (status, err.count("\n")) == (2, 1)
        assert "asks for 'Since', which is no part of a network that is known here" in err


def image(folder):
    place = folder / "image.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(place)
    return place


ASKED = (
    lambda folder: (predict, "last", image(folder)),
    lambda folder: (evaluate, "last"),
)
OTHERS = (
    lambda folder: (serve, "last", "--port", 0),
    lambda folder: (export, "last", "--format", "saved_model", "--out", folder / "exported"),
    lambda folder: (transfer, "--source.run", "last", *FEW),
)


def is_pickle(content):
    """Whether bytes are a whole pickle."""
    try:
        for _ in pickletools.genops(content):
            pass
    except Exception:
        return False
    return True


def test_a_source_that_carries_code_needs_trust_each_time(store, run_stage, marker, tmp_path, monkeypatch, capfd):
    place = with_lambda(tmp_path / "network.keras", marker)
    capfd.readouterr()  # what TensorFlow says as it is used first
    status, _, err = run_stage(transfer, *FEW, "--source.file", place)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{place}: its layer 'sly' is a Lambda" in err
    assert not marker.exists()
    status, _, err = run_stage(transfer, *FEW, "--source.file", place, "--trust")
    assert (status, err) == (0, "")
    assert marker.exists()
    marker.unlink()
    run = newest()
    assert "trust" not in " ".join([*run.data.params, *run.data.tags])
    for stage in (reproduce, train):
        status, _, err = run_stage(stage, run.info.run_id)
        assert (status, err.count("\n")) == (2, 1)
        assert "is a Lambda" in err
    assert not marker.exists()
    asked = []

    def carry_out(request, console):
        asked.append(request.trust)
        sources.provide(request.recipe, request.trust)
        raise BadInput("is not trained here")

    monkeypatch.setattr(training, "carry_out", carry_out)
    for stage in (reproduce, train):
        assert "is not trained here" in run_stage(stage, run.info.run_id, "--trust")[2]
    assert asked == [True, True]
