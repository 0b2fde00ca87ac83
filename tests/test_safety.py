"""Files of trained networks that would do more than compute: each is refused in one line, and nothing is done."""

import io
import json
import pickletools
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

from data.errors import BadInput
from models import safety, trunks
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
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    keras.Model(inputs, keras.layers.Dense(4, name="logits")(keras.layers.Flatten()(x))).save(place)
    return place


def parts(place):
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(place, content):
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return place


def with_config(place, harmless, change):
    """A copy whose configuration has been changed."""
    content = parts(harmless)
    config = json.loads(content["config.json"])
    change({layer["config"]["name"]: layer for layer in config["config"]["layers"]}, config)
    return packed(place, {**content, "config.json": json.dumps(config)})


def with_weights(place, harmless, change):
    """A copy whose weights have been changed."""
    content = parts(harmless)
    file = io.BytesIO(content["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        change(weights)
    return packed(place, {**content, "model.weights.h5": file.getvalue()})


def with_lambda(place, marker, classes=4):
    """A network of images one of whose layers makes the marker as it is called."""
    inputs = keras.Input((8, 8, 1))
    code = f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]"
    x = keras.layers.Lambda(eval(code), output_shape=(8, 8, 1), name="sly")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 3, name="conv")(x))
    keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x)).save(place)
    marker.unlink(missing_ok=True)
    return place


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def calling(module, name, argument):
    """Has a layer whose class is a function of some module, called with an argument (CVE-2025-1550)."""

    def change(layers, config):
        layers["conv"].update(module=module, class_name=name, registered_name=None, config=argument)

    return change


def activated(module, name):
    """Has a function of some module as its activation."""

    def change(layers, config):
        layers["conv"]["config"]["activation"] = function(module, name)

    return change


def layer(home, kind, **settings):
    def change(layers, config):
        kept = {"name": "conv", **settings}
        layers["conv"].update(module=home, class_name=kind, registered_name=None, config=kept)

    return change


def compiled_inside(layers, config):
    layers["conv"]["compile_config"] = {"loss": function("os", "system")}


def registered_elsewhere(layers, config):
    layers["conv"].update(module=None, class_name="Strange", registered_name="theirs>Strange")


ASKING = {
    "a lambda in place of an activation (CVE-2024-3660)": lambda layers, config: layers["conv"]["config"].update(
        activation={"class_name": "__lambda__", "config": {"value": "4wAAAA==", "defaults": None, "closure": None}}
    ),
    "subprocess.Popen (CVE-2025-1550)": calling("subprocess", "Popen", {"args": ["touch", "MARKER"]}),
    "os.system (CVE-2025-1550)": activated("os", "system"),
    "a class of another library": layer("mlflow.pyfunc", "PythonModel"),
    "keras.utils.get_file (CVE-2025-8747)": activated("keras.utils", "get_file"),
    "keras.saving.load_model": calling("keras.saving", "load_model", {"filepath": "MARKER"}),
    "unsafe deserialization (CVE-2025-9906)": calling("keras.config", "enable_unsafe_deserialization", {}),
    "the same as a function": activated("keras.config", "enable_unsafe_deserialization"),
    "a function that finds others": activated("keras.activations", "get"),
    "modules inside Keras": activated("keras.src.utils.file_utils.os", "system"),
    "a vocabulary from a file (CVE-2025-12058)": layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "a vocabulary from an address": layer("keras.layers", "TextVectorization", vocabulary="http://127.0.0.1:9/x"),
    "a SavedModel": layer("keras.layers", "TFSMLayer", filepath="/tmp/model"),
    "a module of PyTorch": layer("keras.layers", "TorchModuleWrapper", module="UEsD"),
    "a function of JAX": layer("keras.layers", "JaxLayer", call_fn=function("os", "system")),
    "a class without its module": layer(None, "Lambda", function="x"),
    "what is nested compiles with": compiled_inside,
    "what others have registered": registered_elsewhere,
}


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


def external(weights):
    del weights["layers/conv2d/vars/0"]
    weights["layers/conv2d/vars"].create_dataset("0", (3, 3, 1, 3), "f4", external=[("/etc/passwd", 0, 108)])


def virtual(weights):
    del weights["layers/conv2d/vars/0"]
    layout = h5py.VirtualLayout((3, 3, 1, 3), "f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "secret", (3, 3, 1, 3), "f4")
    weights["layers/conv2d/vars"].create_virtual_dataset("0", layout)


def linked(link):
    def change(weights):
        del weights["layers/conv2d/vars/0"]
        weights["layers/conv2d/vars"]["0"] = link

    return change


def vast(weights):
    weights.create_dataset("vast", (2**20, 2**20), "f4", chunks=(1024, 1024), compression="gzip")


WEIGHTS = {
    "external storage": (external, "lie in other files"),
    "a virtual dataset": (virtual, "lie in other files"),
    "an external link": (linked(h5py.ExternalLink("/tmp/other.h5", "/secret")), "have a link"),
    "a soft link": (linked(h5py.SoftLink("/layers")), "have a link"),
    "much of nothing": (vast, "would take 4,194,304 MiB in memory"),
}


@pytest.mark.parametrize(("change", "words"), WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights_that_lie_elsewhere_are_refused(change, words, harmless, tmp_path):
    place = with_weights(tmp_path / "network.keras", harmless, change)
    refused(place, words)
    alone = tmp_path / "mine.weights.h5"
    alone.write_bytes(parts(place)["model.weights.h5"])
    with pytest.raises(BadInput, match=words):
        safety.check_weights(alone)


def test_archives_that_keras_does_not_write_are_refused(harmless, tmp_path):
    content = parts(harmless)
    for name in ("assets/../../evil", "/etc/evil", "code.py", "assets\\..\\evil", "model.weights.npz"):
        refused(packed(tmp_path / "network.keras", {**content, name: b"x"}), "which Keras does not write")
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(tmp_path / "twice.keras", "w") as archive:
        for name in (*content, "config.json"):
            archive.writestr(name, content[name])
    refused(tmp_path / "twice.keras", "which Keras does not write")
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
        monkeypatch.delitem(sys.modules, "evil", raising=False)
        assert run_stage(predict, "last", image(tmp_path), "--trust")[0] == 0
        assert marker.exists()
        assert not any("artifacts" in path for path in sys.path)

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
