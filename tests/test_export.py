"""Models in other formats, run there by those formats' own runtimes."""

import importlib.util
import json
from contextlib import nullcontext
from dataclasses import replace

import keras
import numpy as np
import pytest
from rich.console import Console

import data
from data.errors import BadInput
from models.convolutional import LeNet5
from models.parts.recurrent import Recurrence
from models.recurrent import Recurrent
from pipelines import export, exporting, servable
from pipelines.command import RunFailed
from pipelines.tracking import recorded
from tests.conftest import make_spec, make_texts

HERE = [name for name, form in exporting.FORMATS.items() if all(map(importlib.util.find_spec, form.needs))]


def made(folder, model, spec):
    """A servable of an untrained network."""
    known = {"input": spec.kind, "classes": spec.classes, "output": "softmax", "shape": spec.shape}
    known |= {"vocabulary": spec.vocabulary, "fold": spec.fold, "longest": spec.longest}
    servable.save(folder, model.build(spec), known)
    return servable.Servable(folder)


@pytest.mark.parametrize("name", HERE)
def test_a_recorded_model_answers_the_same_in_every_format(trained, run_stage, tmp_path, name):
    folder = tmp_path / "out"
    status, out, err = run_stage(export, "last", "--format", name, "--out", folder)
    assert status == 0, err
    assert "compared on 100 test inputs" in out
    assert f"│ {name}" in out
    run = recorded.find("last")
    answers = np.stack(recorded.table(run, "predictions")["probabilities"])
    described = json.loads((folder / "model.json").read_text())
    assert described["classes"] == [str(digit) for digit in range(10)]
    assert described["shape"] == [8, 8, 1]
    pixels = data.load(data.DataConfig("digits")).test.inputs[np.arange(100)]
    found = exporting.load(name, folder / exporting.FORMATS[name].file)(pixels)
    np.testing.assert_allclose(found, answers[:100], atol=export.TOLERANCE)


@pytest.mark.parametrize("name", HERE)
def test_a_network_of_recurrent_layers_is_exported_with_every_length_of_text(tmp_path, name):
    spec = replace(make_texts().spec, longest=4)
    model = made(tmp_path / "model", Recurrent(units=3, layers=1, embedding=4), spec)
    again = servable.Servable(tmp_path / "model")
    path = exporting.write(again, name, tmp_path / "out")
    run = exporting.load(name, path)
    texts = np.array(["ab", "a", "abcdefghabcdefgh", "chov"])
    for some in (texts, texts[:2], texts[1:2]):
        inputs = export.numbers(model, some, exporting.FORMATS[name].loops)
        with exporting.quiet():
            np.testing.assert_allclose(run(inputs), model.predict(some), atol=1e-5)
    described = json.loads((tmp_path / "out" / "model.json").read_text())
    assert described["vocabulary"] == [*spec.vocabulary]


def test_a_convolutional_network_is_exported(tmp_path):
    model = made(tmp_path / "model", LeNet5(), make_spec((16, 16, 3), 4))
    again = servable.Servable(tmp_path / "model")
    run = exporting.load("litert", exporting.write(again, "litert", tmp_path / "out"))
    pixels = export.chance(model)
    with exporting.quiet():
        np.testing.assert_allclose(run(pixels), model.predict(pixels), atol=1e-5)


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_outputs_are_those_of_the_servable(output):
    values = np.linspace(-2, 2, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    found = values
    for layer in exporting._last(output):
        found = layer(found)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), servable.OUTPUTS[output](values), rtol=1e-5)


@pytest.mark.parametrize("cell", ["simple", "gru", "lstm"])
def test_recurrent_layers_give_the_same_without_a_loop(cell):
    generator = np.random.default_rng(0)
    sequences, mask = generator.normal(size=(3, 5, 4)).astype(np.float32), np.tri(3, 5, 2, dtype=np.int32)
    layer = Recurrence(cell, 6, bidirectional=True)
    looped = keras.ops.convert_to_numpy(layer(sequences, mask=mask))
    layer.unrolled = True
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(sequences, mask=mask)), looped, atol=1e-6)


@pytest.mark.parametrize("shift", [0.5, 2.0])
def test_answers_that_differ_are_a_failure(trained, tmp_path, monkeypatch, shift):
    model = recorded.find("last").load_model()
    pixels = export.chance(model)
    answer = lambda inputs: model.predict(inputs) + shift * export.TOLERANCE  # noqa: E731
    monkeypatch.setattr(exporting, "load", lambda name, path: answer)
    with nullcontext() if shift < 1 else pytest.raises(RunFailed, match=r"answers differ by 2\.0e-04, more than 1e-04"):
        export.show(export.measure(model, pixels, "onnx", tmp_path), tmp_path, Console(quiet=True))


def test_what_is_missing_is_said_before_any_work(trained, run_stage, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        status, _, err = run_stage(export, "last", "--format", "onnx")
    assert (status, err.count("\n")) == (2, 1)
    assert "needs onnx and onnxruntime and tf2onnx, not installed" in err
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(BadInput, match="KERAS_BACKEND=torch: models are exported by TensorFlow"):
        exporting.check("litert")


def test_what_a_converter_can_not_do_is_one_line(trained, run_stage, tmp_path, monkeypatch):
    def fails(*arguments, **named):
        raise NotImplementedError("no such\noperation")

    monkeypatch.setattr(keras.Model, "export", fails)
    status, _, err = run_stage(export, "last", "--format", "litert", "--out", tmp_path / "out")
    assert (status, err) == (1, "failed: litert: this network can't be exported (no such operation)\n")
