"""Trainings that end before their time and go on: as if nothing had happened, or not at all."""

import errno
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import mlflow
import numpy as np
import pytest
from rich.console import Console

from data.errors import BadInput
from data.spec import DataConfig
from models.autoencoders import VariationalAutoencoder
from models.corruption import Corruption
from models.dense import MultilayerPerceptron
from models.recurrent import Recurrent
from pipelines import recipes, settings, train
from pipelines.augmentation import Augmentation
from pipelines.command import Interrupted
from pipelines.fitting.checkpoints import KEPT, Checkpoints, Epoch, Position, State
from pipelines.fitting.trainer import Trainer
from pipelines.outcomes import TIMES
from pipelines.settings import EarlyStopping, Optimizer, Recipe, Schedule, Stage
from pipelines.tracking import journal
from pipelines.tracking import store as where
from tests.conftest import Begun, make_splits, make_texts, newest

AVERAGED = Recipe(
    DataConfig("squares"),
    MultilayerPerceptron(units=(16,), dropout=0.3, batch_normalization=True),
    augmentation=Augmentation(crop=1),
    optimizer=Optimizer("adam", 3e-3, ema=0.9),
    schedule=Schedule("cosine", warmup=0.1),
    stages=(Stage(2), Stage(2, learning_rate=0.5)),
    batch_size=40,
    precision="float32",
)
ONE_WAY = Recurrent(units=8, layers=1, bidirectional=False, embedding=4)
CASES = {
    "averages, two stages": AVERAGED,
    "early stopping and plateau": replace(
        AVERAGED,
        optimizer=Optimizer("sgd", 0.5, {"momentum": 0.9}),
        schedule=Schedule("plateau", patience=1, warmup=0.1),
        early_stopping=EarlyStopping(2),
        stages=(Stage(12),),
    ),
    "early stopping of averages": replace(
        AVERAGED,
        optimizer=Optimizer("sgd", 6.0, {"momentum": 0.95}, ema=0.1),
        schedule=Schedule(),
        early_stopping=EarlyStopping(1),
        stages=(Stage(5), Stage(2)),
    ),
    "accumulated gradients, other layers": replace(
        AVERAGED,
        optimizer=Optimizer("adam", 3e-3, accumulation=2, clipnorm=1.0),
        stages=(Stage(2), Stage(1, trainable="logits"), Stage(2, trainable="logits")),
    ),
    "steps": replace(AVERAGED, steps=8),
    "texts of different length": replace(
        AVERAGED,
        model=replace(ONE_WAY, dropout=0.3, character_dropout=0.1, ngrams=2, buckets=97),
        augmentation=None,
        balance=0.5,
        stages=(Stage(3),),
    ),
    "a random code of spoilt images": replace(
        AVERAGED,
        model=VariationalAutoencoder(code=4, units=(8,), corruption=Corruption("gaussian", 0.3)),
        stages=(Stage(3),),
    ),
}
ALIKE = ("steps", "texts of different length", "a random code of spoilt images")
CRITICAL = ("within the last epoch", "end of the first epoch")
"""Moments at which those are continued, whose trainer is the same."""

STEPS = 3
"""Of an epoch."""

MOMENTS = {
    "first step": lambda kept: kept[0],
    "within the last epoch": lambda kept: [one for one in kept if one.position.in_epoch][-1],
    "end of the first epoch": lambda kept: next(one for one in kept if not one.position.in_epoch),
    "end of a stage": lambda kept: next(one for one in kept if one.position.stage_over),
    "end of the last": lambda kept: kept[-1],
}


class Collecting(Checkpoints):
    """Checkpoints after each step, all of which stay readable."""

    def __init__(self, folder):
        super().__init__(folder)
        self.kept = []

    def due(self):
        return True

    def write(self, state):
        super().write(state)
        self.kept.append(self.latest())


def fit(recipe, kept=None, state=None):
    """Train; returns the final weights, and the reported epochs but for times."""
    reported = []

    def report(metrics, epoch, at):
        reported.append((epoch, {name: value for name, value in metrics.items() if name not in TIMES}))

    splits = make_texts() if recipe.augmentation is None else make_splits()
    made = Trainer(recipe, splits, Console(quiet=True))
    return made.fit(report, kept, state).model.get_weights(), reported


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """For a case: weights and epochs of a training that nothing disturbs, and its state at each moment."""

    @cache
    def trained(case):
        kept = Collecting(tmp_path_factory.mktemp("checkpoints"))
        return *fit(CASES[case], kept), kept.kept

    return trained


def assert_same(mine, others):
    assert mine[1] == others[1]
    assert all(np.array_equal(a, b) for a, b in zip(mine[0], others[0], strict=True))


WHEN = [(case, moment) for case in CASES for moment in MOMENTS if case not in ALIKE or moment in CRITICAL]


@pytest.mark.parametrize(("case", "moment"), WHEN)
def test_a_continued_training_is_the_undisturbed_one(case, moment, undisturbed, tmp_path):
    weights, epochs, kept = undisturbed(case)
    state = MOMENTS[moment](kept)
    later = Collecting(tmp_path)
    assert_same(fit(CASES[case], later, state), (weights, epochs))
    assert [one.position.step for one in later.kept] == [
        one.position.step for one in kept[next(n for n, one in enumerate(kept) if one is state) + 1 :]
    ]


def test_checkpoints_do_not_disturb(undisturbed):
    case = "averages, two stages"
    assert_same(fit(CASES[case]), undisturbed(case)[:2])


@pytest.mark.parametrize("case", [case for case in CASES if "stopping" in case])
def test_the_cases_of_early_stopping_stop_early(case, undisturbed):
    _, epochs, kept = undisturbed(case)
    assert len(epochs) < CASES[case].epochs
    assert any(one.callbacks["EarlyStopping"]["wait"] for one in kept)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_step_under_way(number, undisturbed, tmp_path):
    class Interrupting(Checkpoints):
        steps = 0

        def due(self):
            self.steps += 1
            if self.steps == STEPS + 1:
                signal.raise_signal(number)
            return False

    case, kept = "averages, two stages", Interrupting(tmp_path)
    with pytest.raises(Interrupted) as ended:
        fit(CASES[case], kept)
    assert ended.value.status == 128 + number
    state = kept.latest()
    assert (state.position.epoch, state.position.in_epoch) == (1, 2)
    assert_same(fit(CASES[case], None, state), undisturbed(case)[:2])


def test_a_checkpoint_of_another_network_is_refused(undisturbed):
    state = undisturbed("steps")[2][0]
    other = replace(CASES["steps"], model=replace(AVERAGED.model, units=(8,)))
    with pytest.raises(BadInput, match="not those that this code makes") as caught:
        fit(other, None, state)
    assert "\n" not in str(caught.value)


def make_state(step, shape=(40, 30)):
    generator = np.random.default_rng(step)
    arrays = {f"model/{number:05}": generator.normal(size=shape).astype(np.float32) for number in range(3)}
    epochs = [Epoch({"val/loss": 0.1 + 0.2}, 1.5)]
    return State(Position(stage=1, epoch=1, step=step, in_epoch=step, epochs=epochs), arrays, {"A": {"best": 0.3}})


def same_state(one, other):
    return (
        (one.position, one.callbacks) == (other.position, other.callbacks)
        and list(one.arrays) == list(other.arrays)
        and all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    )


@pytest.fixture
def written(tmp_path):
    """Checkpoints of steps 1 to 3."""
    made = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2, 3):
        made.write(make_state(step))
    return made


def files(made):
    return sorted(path.name for path in made.folder.iterdir())


def test_the_last_two_are_kept(written):
    assert files(written) == ["000000000002.npz", "000000000003.npz"]
    assert len(files(written)) == KEPT
    assert same_state(written.latest(), make_state(3))


def test_without_checkpoints_there_is_no_state(tmp_path):
    assert Checkpoints(tmp_path / "none").latest() is None


def flip(content, number):
    place, bit = divmod(number, 8)
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "its last byte": lambda content: content[:-1],
    "one bit": lambda content: flip(content, len(content) * 4),
    "empty": lambda content: b"",
    "garbage": lambda content: bytes(len(content)),
    "text": lambda content: b"not a checkpoint\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_leaves_the_one_before(damage, written):
    older, newest = (written.folder / name for name in files(written))
    newest.write_bytes(DAMAGES[damage](newest.read_bytes()))
    assert same_state(written.latest(), make_state(2))
    older.write_bytes(DAMAGES[damage](older.read_bytes()))
    with pytest.raises(BadInput, match=newest.name) as caught:
        written.latest()
    assert "train anew" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_flipped_bit_gives_another_state(tmp_path):
    made, expected = Checkpoints(tmp_path), make_state(1, (4, 3))
    made.write(expected)
    place = tmp_path / files(made)[0]
    content = place.read_bytes()
    directory = content.index(b"PK\1\2")  # where the archive says of its members what no checksum covers
    for number in [*range(0, directory * 8, 97), *range(directory * 8, len(content) * 8)]:
        place.write_bytes(flip(content, number))
        with suppress(BadInput):
            assert same_state(made.latest(), expected), number


@pytest.mark.parametrize("failing", ["savez", "fsync", "replace"])
def test_a_write_that_fails_leaves_those_before(failing, written, monkeypatch):
    def fail(*arguments, **named):
        if failing == "savez":
            arguments[0].write(b"the first part")
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = {"savez": np, "fsync": os, "replace": Path}[failing]
    before = files(written)
    with monkeypatch.context() as patch:
        patch.setattr(owner, failing, fail)
        with pytest.raises(OSError, match="No space"):
            written.write(make_state(4))
    assert files(written) == before
    assert same_state(written.latest(), make_state(3))
    written.write(make_state(4))
    assert same_state(written.latest(), make_state(4))


def test_what_a_kill_left_half_written_is_passed_over(written):
    newest = written.folder / files(written)[-1]
    draft = written.folder / "000000000004.new"
    draft.write_bytes(newest.read_bytes()[:1000])
    assert same_state(written.latest(), make_state(3))
    written.write(make_state(4))
    assert files(written) == ["000000000003.npz", "000000000004.npz"]


@pytest.fixture
def unfinished_run(store):
    """A run of a process that died before its first step."""

    def make(recipe="digits-mlp", identifier="a" * 32, **more):
        folder = where.unfinished() / identifier
        header = {
            "id": identifier,
            "name": f"{recipe}-seed1",
            "experiment": "digits",
            "store": where.public(where.uri()),
            "started": 1.0,
            "tags": {"data.sha256": "", "precision": "float32"},
            "params": {},
            "recipe_name": recipe,
            "recipe": settings.to_dict(recipes.find(recipe)),
            "tta": False,
            "group": "",
            "outcome": "",
            "threads": 0,
            "continues": True,
        }
        journal.create(folder, header | more)
        return folder

    return make


def refused(outcome, *words):
    status, out, err = outcome
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err
    assert "Traceback" not in out


def test_there_must_be_a_run_to_go_on_with(unfinished_run, run_stage):
    refused(run_stage(train, "digits-mlp", "--resume", "last"), "RESUME=last", "make train-digits-mlp")
    other = unfinished_run("cifar-linear")
    refused(run_stage(train, "digits-mlp", "--resume", "last"), "RESUME=last")
    refused(run_stage(train, "digits-mlp", "--resume", "b" * 32), "b" * 32)
    refused(run_stage(train, "digits-mlp", "--resume", other.name), "make train-cifar-linear")


def test_a_run_that_has_finished_is_not_trained_again(trained, unfinished_run, run_stage):
    finished = trained[0].info.run_id
    refused(run_stage(train, "digits-mlp", "--resume", finished), finished)
    refused(run_stage(train, "digits-mlp", "--resume", "last"), "RESUME=last")
    sending = journal.Journal(unfinished_run())
    sending.append("status", status="FINISHED")
    sending.release()
    refused(run_stage(train, "digits-mlp", "--resume", sending.folder.name), "make sync")


def test_a_run_under_way_is_left_alone(unfinished_run, run_stage):
    running = journal.Journal(unfinished_run())
    refused(run_stage(train, "digits-mlp", "--resume", running.folder.name), "another process")
    refused(run_stage(train, "digits-mlp", "--resume", "last"), "RESUME=last")
    assert not running.records
    running.release()


@pytest.mark.parametrize("flags", [("--epochs", "3"), ("--seeds", "2"), ("--tta",), ("--model.dropout", "0.1")])
def test_a_run_goes_on_with_its_own_settings(flags, run_stage):
    refused(run_stage(train, "digits-mlp", "--resume", "last", *flags), "--resume", "leave out all other flags")


ASKED = ("digits-mlp", "--deterministic", "--epochs", "5", "--batch-size", "8", "--model.dropout", "0.3")
ASKED += ("--augmentation.crop", "1", "--optimizer.ema", "0.9", "--precision", "float32")

OFTEN = """
from pipelines import command, train
from pipelines.fitting import checkpoints
checkpoints.INTERVAL = 0.02
command.main(train.main)
"""


def start(*arguments):
    return Begun(OFTEN, *arguments)


def end(begun, number, reached):
    """Send a signal as soon as something is so; returns the status."""
    deadline = time.monotonic() + 120
    while not reached():
        assert begun.poll() is None, begun.finish()
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    begun.send_signal(number)
    return begun.finish()[0]


def finish(begun):
    status, out, err = begun.finish(timeout=120)
    assert status == 0, err
    return out


def history(run):
    client, skipped = mlflow.MlflowClient(), ("system/", *TIMES)
    names = [name for name in run.data.metrics if not name.startswith(skipped)]
    return {name: sorted((p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)) for name in names}


def test_a_training_that_is_killed_again_and_again_ends_as_an_undisturbed_one(store):
    finish(start(*ASKED))
    expected = newest()
    place = store / "unfinished"
    kept = lambda: {int(path.stem) for path in place.glob("*/checkpoints/*.npz")}  # noqa: E731

    status = end(start(*ASKED), signal.SIGKILL, lambda: any(step > 143 and step % 143 for step in kept()))
    assert status == -signal.SIGKILL
    run = newest()
    assert run.info.run_id != expected.info.run_id
    drafts = lambda: list(place.glob("*/checkpoints/*.new"))  # noqa: E731
    for draft in drafts():
        draft.unlink()
    status = end(start("digits-mlp", "--resume", run.info.run_id), signal.SIGKILL, drafts)
    assert status == -signal.SIGKILL

    before = max(kept())
    assert f"goes on after {before} of {5 * 143} steps" in finish(start("digits-mlp", "--resume", "last"))
    run = newest()
    assert run.info.status == "FINISHED"
    assert run.data.tags["weights.sha256"] == expected.data.tags["weights.sha256"]
    assert history(run) == history(expected)
    assert not list(place.iterdir())
