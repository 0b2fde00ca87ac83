"""Trained networks go on to other tasks."""

import re
from dataclasses import replace

import keras
import mlflow
import numpy as np
import pytest
from rich.console import Console

from data.errors import BadInput
from data.spec import DataConfig
from models import pretrained
from models.autoencoders import DenseAutoencoder
from models.parts import trunks
from models.pretrained import Source, Transferred
from models.residual import ResNet
from pipelines import register, reproduce, sources, train, transfer
from pipelines.augmentation import Augmentation
from pipelines.fitting import features, trainer
from pipelines.fitting.checkpoints import Checkpoints
from pipelines.fitting.network import digest
from pipelines.fitting.optimizers import build_optimizer
from pipelines.fitting.trainer import Trainer
from pipelines.recipes.transfer import from_scratch
from pipelines.settings import Optimizer, Recipe, Stage
from pipelines.tracking import store as where
from tests.conftest import make_spec, make_splits, newest
from tests.test_resume import MOMENTS, Collecting, assert_same

FEW = ("--data.name", "digits", "--augmentation.flip", "none", "--epochs", "4")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A transfer from a residual network whose statistics are those of its data, on images of another size."""
    network = ResNet(depth=8, width=4).build(make_spec((8, 8, 1), 3))
    generator = np.random.default_rng(0)
    network.set_weights([weight + 0.1 * generator.random(weight.shape) for weight in network.get_weights()])
    place = tmp_path_factory.mktemp("source") / "network.keras"
    network.save(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_CACHE", str(place.parent / "cache"))
        yield sources.provide(
            Recipe(
                DataConfig("squares"),
                Transferred(source=Source(file=str(place)), dropout=0.2),
                augmentation=Augmentation(crop=1),
                optimizer=Optimizer("adam", 3e-3, depth_decay=0.5),
                stages=(Stage(2, blocks=0), Stage(2, blocks=1), Stage(1, blocks=2)),
                batch_size=40,
                precision="float32",
            )
        )


def fit(recipe, kept=None, state=None):
    made = Trainer(recipe, make_splits(), Console(quiet=True))
    reported = []

    def report(metrics, epoch, at):
        names = [name for name in metrics if not name.endswith(("_seconds", "_second"))]
        reported.append((epoch, {name: metrics[name] for name in names}))

    made.fit(report, kept, state)
    return made.model, reported


def changed(recipe, trained):
    """Of a trained network's trunk, the layers whose weights are not those of the source."""
    fresh = Trainer(recipe, make_splits(), Console(quiet=True)).model
    pairs = zip(trunks.find(fresh).layers, trunks.find(trained).layers, strict=True)
    return {
        after.name
        for before, after in pairs
        if not all(np.array_equal(a, b) for a, b in zip(before.get_weights(), after.get_weights(), strict=True))
    }


def test_nothing_of_the_trunk_moves_by_a_bit_while_the_head_alone_learns(recipe):
    only_head = replace(recipe, stages=(Stage(3, blocks=0),))
    trained, _ = fit(only_head)
    assert changed(only_head, trained) == set()
    assert np.abs(trained.get_layer("logits").get_weights()[0]).max() > 0


def test_features_computed_once_give_the_head_that_the_whole_network_gives(recipe):
    plain = replace(recipe, augmentation=Augmentation())
    cached, by_epoch = fit(replace(plain, stages=(Stage(3, blocks=0),)))
    optimizer = replace(plain.optimizer, depth_decay=1.0)
    whole, expected = fit(replace(plain, optimizer=optimizer, stages=(Stage(3, trainable="logits"),)))
    for mine, other in zip(
        cached.get_layer("logits").get_weights(), whole.get_layer("logits").get_weights(), strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    for (_, mine), (_, other) in zip(by_epoch, expected, strict=True):
        assert mine == pytest.approx(other, abs=1e-5)


def test_blocks_learn_from_the_top_and_statistics_stay(recipe):
    one = replace(recipe, stages=(Stage(1, blocks=1),))
    moved = changed(one, fit(one)[0])
    assert moved
    assert all(name.startswith("group_3") and "norm" not in name for name in moved)
    two = replace(recipe, stages=(Stage(1, blocks=2),))
    assert {name[:7] for name in changed(two, fit(two)[0])} == {"group_2", "group_3"}


@pytest.fixture(scope="module")
def undisturbed(recipe, tmp_path_factory):
    kept = Collecting(tmp_path_factory.mktemp("checkpoints"))
    model, reported = fit(recipe, kept)
    return (model.get_weights(), reported), kept.kept


def test_curves_go_on_over_all_stages(undisturbed):
    (_, reported), _ = undisturbed
    assert [epoch for epoch, _ in reported] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("moment", "computed"), [("first step", 1), ("end of a stage", 0)])
def test_a_transfer_goes_on_as_if_nothing_had_happened(recipe, undisturbed, tmp_path, monkeypatch, moment, computed):
    expected, states = undisturbed
    made = []
    monkeypatch.setattr(trainer, "footing", lambda *given: made.append(features.footing(*given)) or made[-1])
    model, reported = fit(recipe, Checkpoints(tmp_path), MOMENTS[moment](states))
    assert_same((model.get_weights(), reported), expected)
    assert len(made) == computed  # at the end of the head's stage features are of no use any more


def test_the_rate_falls_with_depth():
    variables = [keras.Variable(np.zeros(2, np.float32)) for _ in range(3)]
    factors = {id(variables[0]): 0.25, id(variables[1]): 0.5}
    optimizer = build_optimizer(Optimizer("sgd", 1.0), 1.0, factors)
    optimizer.apply([keras.ops.ones(2)] * 3, variables)
    assert [float(variable.numpy()[0]) for variable in variables] == [-0.25, -0.5, -1.0]


def test_from_nothing_the_same_network_learns_as_a_whole(recipe):
    scratch = from_scratch(recipe)
    assert scratch.epochs == recipe.epochs
    made = Trainer(scratch, make_splits(), Console(quiet=True))
    made.compile(0)
    source = Trainer(recipe, make_splits(), Console(quiet=True)).model
    assert [weight.shape for weight in made.model.weights] == [weight.shape for weight in source.weights]
    kernels = [(a, b) for a, b in zip(made.model.weights, source.weights, strict=True) if len(a.shape) == 4]
    assert not any(np.allclose(a.numpy(), b.numpy()) for a, b in kernels)
    assert all(a.trainable for a, _ in kernels)


def test_colour_images_of_another_size_are_brought_to_the_sources(recipe):
    network = recipe.model.build(make_spec((20, 14, 3), 5))
    assert trunks.find(network).input_shape == (None, 8, 8, 1)
    assert network.output_shape == (None, 5)


def test_photos_come_in_the_size_of_the_source_unless_told_otherwise(recipe):
    photos = replace(recipe, data=DataConfig("folder", path="photos"))
    assert sources.fitting_size(photos).data.size == 8
    assert sources.fitting_size(replace(photos, model=replace(photos.model, size=16))).data.size == 16
    assert sources.fitting_size(replace(photos, data=replace(photos.data, size=64))).data.size == 64


def test_an_encoder_of_an_autoencoder_can_be_the_source(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_CACHE", str(tmp_path))
    DenseAutoencoder(units=(8,), code=4).build(make_spec((12, 12, 1))).save(tmp_path / "network.keras")
    model = Transferred(source=Source(file=str(tmp_path / "network.keras")), units=(6,))
    other = sources.provide(replace(recipe, model=model, stages=(Stage(1, blocks=0), Stage(1, blocks=1))))
    trained, _ = fit(other)
    assert changed(other, trained) == {"code"}


class TestSources:
    @pytest.fixture
    def recipe(self, store):
        return replace(
            Recipe(DataConfig("digits"), Transferred(), optimizer=Optimizer("adam", 0.01), stages=(Stage(1, blocks=0),))
        )

    def given(self, recipe, **source):
        return replace(recipe, model=Transferred(source=Source(**source)))

    def test_a_run_is_fixed_by_its_id_and_its_weights(self, trained, recipe):
        run, _ = trained
        found = sources.provide(self.given(recipe, run="last")).model.source
        assert (found.run, found.origin) == (run.info.run_id,) * 2
        assert found.sha256 == run.data.tags["weights.sha256"]
        network = keras.saving.load_model(pretrained.KEPT[found.sha256].path, compile=False)
        assert digest(network) == found.sha256

    def test_a_registered_model_is_a_source(self, trained, recipe, run_stage):
        run, _ = trained
        assert run_stage(register, "last", "numbers", "--alias", "champion")[0] == 0
        fixed = sources.provide(self.given(recipe, model="models:/numbers@champion"))
        assert fixed.model.source.sha256 == run.data.tags["weights.sha256"]
        tags = {"source.model": "models:/numbers@champion", "source.run": run.info.run_id}
        assert tags.items() <= sources.tags(fixed).items()

    def test_once_used_it_is_taken_from_the_cache_whatever_has_become_of_it(self, trained, recipe):
        run, _ = trained
        fixed = sources.provide(self.given(recipe, run=run.info.run_id))
        mlflow.delete_run(run.info.run_id)
        pretrained.KEPT.clear()
        assert sources.provide(fixed) == fixed
        assert fixed.model.source.sha256 in pretrained.KEPT

    def test_other_weights_than_were_recorded_are_refused(self, trained, recipe):
        with pytest.raises(BadInput, match="has weights of sha256"):
            sources.provide(self.given(recipe, run="last", sha256="0" * 64))

    def test_weights_of_an_application_come_from_a_file(self, recipe, tmp_path):
        network = trunks.without_top("MobileNetV3Small", None)
        network.save_weights(tmp_path / "mine.weights.h5")
        given = self.given(recipe, network="MobileNetV3Small", weights=str(tmp_path / "mine.weights.h5"))
        model = sources.provide(given).model
        assert model.source.sha256 == digest(network)
        built = model.build(make_spec((224, 224, 3), 2))
        images = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)
        expected = keras.ops.convert_to_numpy(network(images.astype(np.float32)))
        features = keras.Model(built.inputs[0], built.get_layer("features").output)(images)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(features), expected, rtol=1e-3, atol=1e-4)

    def test_what_can_not_be_had_says_what_to_do(self, recipe, tmp_path):
        text = tmp_path / "text.keras"
        text.write_text("no network")
        faults = {
            "can't be loaded .* give a .keras file": {"file": str(text)},
            "no such file; .* give another source": {"network": "ResNet50V2", "weights": str(tmp_path / "none.h5")},
            "--source.network and --source.run: name several sources": {"network": "ResNet50V2", "run": "last"},
            "is no classifier of keras.applications": {"network": "ResNet51"},
            "there is no finished run with a model": {"run": "last"},
        }
        for line, source in faults.items():
            with pytest.raises(BadInput) as found:
                sources.provide(self.given(recipe, **source))
            assert re.search(line, str(found.value)), str(found.value)

    def test_weights_that_can_not_be_fetched_say_how_to_do_without_network(self, recipe, monkeypatch):
        def fetch(name, weights):
            raise Exception("URL fetch failure on https://example.org: None -- no network")

        monkeypatch.setattr(trunks, "without_top", fetch)
        with pytest.raises(BadInput) as found:
            sources.provide(self.given(recipe, network="ResNet50V2"))
        assert "ResNet50V2's ImageNet weights" in str(found.value)
        assert "--source.weights PATH" in str(found.value)


def test_a_transfer_is_one_run_linked_to_its_source(trained, run_stage):
    source, _ = trained
    flags = ("--source.run", "last", "--data.shots", "5", "--data.classes", "3", "4", "5")
    status, out, err = run_stage(transfer, *FEW, *flags)
    assert (status, err) == (0, "")
    run, client = newest(), mlflow.MlflowClient()
    assert run.data.tags["stage"] == "transfer"
    assert run.data.tags["source.run"] == source.info.run_id
    assert run.data.tags["source.sha256"] == source.data.tags["weights.sha256"]
    assert run.data.params["model.source.run"] == source.info.run_id
    assert client.get_run(source.info.run_id).data.tags[f"transferred.{run.info.run_id}"] == run.info.run_name
    made = [output.model_id for output in source.outputs.model_outputs]
    assert [given.model_id for given in client.get_run(run.info.run_id).inputs.model_inputs] == made
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val/loss")] == [1, 2, 3, 4]
    assert "features of " in out
    status, out, err = run_stage(reproduce, run.info.run_id)
    assert (status, err) == (0, "")
    assert newest().data.tags["weights.sha256"] == run.data.tags["weights.sha256"]
    status, out, err = run_stage(train, run.info.run_id, "--seed", "2", "--epochs", "2")
    assert (status, err) == (0, "")
    assert newest().data.tags["source.run"] == source.info.run_id


def test_the_gain_is_that_over_the_same_network_from_nothing(trained, run_stage, in_this_process):
    flags = ("--source.run", "last", "--baseline", "scratch", "--data.shots", "5")
    status, out, err = run_stage(transfer, *FEW, *flags)
    assert (status, err) == (0, "")
    group = next(run for run in where.client().search_runs(["1"]) if run.data.tags.get("group") == "transfer")
    children = where.client().search_runs(["1"], f"tags.`mlflow.parentRunId` = '{group.info.run_id}'")
    accuracy = {child.data.tags["source.scratch"]: child.data.metrics["test/accuracy"] for child in children}
    gain = group.data.metrics
    assert gain["gain/accuracy"] == pytest.approx(accuracy["false"] - accuracy["true"])
    assert gain["gain/accuracy_low"] <= gain["gain/accuracy"] <= gain["gain/accuracy_high"]
    assert gain["gain/accuracy_low"] < gain["gain/accuracy_high"]
    assert f"{100 * gain['gain/accuracy']:+.1f} points" in out


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--source.weights", "x.h5"), "no network is named"),
        (("--seeds", "0"), "0 trainings"),
        (("--resume", "last", "--seeds", "2"), "takes everything from the run"),
        (("--resume", "last"), "there is no unfinished run of transfer"),
        (("--source.run", "last"), "there is no finished run with a model"),
        (("--data.name", "digits", "--data.classes", *"012345678"), "leaves 1 classes to train a source on"),
    ],
)
def test_what_can_not_be_done_is_one_line(store, run_stage, flags, line):
    status, _, err = run_stage(transfer, *flags)
    assert (status, err.count("\n")) == (2, 1)
    assert line in err
