"""Two logical devices of the CPU give the results of one."""

import numpy as np
import pytest

from data.errors import BadInput
from pipelines import train
from pipelines.fitting import replicas
from tests.conftest import on_backend

TWO_DEVICES = {
    "tensorflow": """
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
""",
    "jax": "",
}

COMPARE = """
import numpy as np
from copy import deepcopy
from dataclasses import replace
from pytest import approx
from models.fast import FastNetwork
from pipelines.fitting import replicas
from pipelines.settings import Optimizer, Stage
from tests.conftest import Kept, make_splits
from tests.test_trainer import PLAIN, trainer

PLAIN = replace(PLAIN, model=replace(PLAIN.model, batch_normalization=True), stages=(Stage(2),))
FAST = replace(
    PLAIN,
    model=FastNetwork(filters=(4, 8), identity=True, activation="silu", deviation=1.7),
    optimizer=Optimizer("filter_muon", 0.1, weight_decay=0.1, ema=0.5),
    stages=(Stage(1),),
)
names = replicas._names


def trained(recipe, devices, state=None):
    replicas._names = lambda: names()[:devices]
    made, kept, curves = trainer(recipe, make_splits(207)), Kept(), []
    assert len(made.splits.val) % 2, "validation ends with a batch that two can't share"
    assert made.replicas.count == devices
    made.initial_loss()
    fitted = made.fit(lambda metrics, epoch, at: curves.append(metrics), kept, deepcopy(state))
    curves = [{name: line[name] for name in line if "/" in name} for line in curves]
    return fitted.model.get_weights(), curves, kept.states


def same(one, other, tolerance):
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    for a, b in zip(one[1], other[1], strict=True):
        assert a == {name: approx(value, abs=tolerance) for name, value in b.items()}, (a, b)


def halfway(kept):
    state = kept[2][len(kept[2]) // 2]
    assert state.position.in_epoch
    return state


assert len(names()) == 2
one, two = trained(PLAIN, 1), trained(PLAIN, 2)
same(one, two, 2e-4)
same(one, trained(PLAIN, 1, halfway(two)), 2e-4)
one, two = trained(FAST, 1), trained(FAST, 2)
same(one, two, 2e-4)
same(two, trained(FAST, 2, halfway(two)), 1e-5)
"""


@pytest.mark.parametrize("backend", TWO_DEVICES)
def test_two_devices_learn_what_one_does(backend):
    two = "--xla_force_host_platform_device_count=2"
    done = on_backend(backend, TWO_DEVICES[backend] + COMPARE, XLA_FLAGS=two)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("devices", "count"), [(1, 1), (2, 2), (3, 2), (4, 4), (5, 5), (7, 5)])
def test_as_many_devices_take_part_as_split_a_batch_evenly(devices, count, monkeypatch):
    monkeypatch.setattr(replicas, "_names", lambda: [f"CPU:{number}" for number in range(devices)])
    monkeypatch.setattr(replicas, "_scope", lambda names: names)
    gathered = replicas.gather(20, 0)
    assert replicas.gather(20, 1).count == 1, "one example for validation can't be shared"
    assert (gathered.count, gathered.there) == (count, devices)
    assert ("evenly" in gathered.describe()) == (count < devices)
    assert (gathered.describe() == "") == (devices == 1)


def test_each_host_contributes_its_part_of_a_batch():
    batch = np.arange(8), np.arange(8) * 10
    parts = [replicas.Replicas(count=4, process=host, processes=2).part(batch) for host in range(2)]
    assert [[*map(list, part)] for part in parts] == [
        [[0, 1, 2, 3], [0, 10, 20, 30]],
        [[4, 5, 6, 7], [40, 50, 60, 70]],
    ]
    odd = replicas.Replicas(count=4, process=1, processes=2).part((np.arange(6),))
    assert len(odd[0]) == 6, "each device takes all of what can't be split evenly"


def test_hosts_that_split_no_batch_evenly_are_refused(monkeypatch):
    monkeypatch.setattr(replicas, "_names", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    monkeypatch.setattr(replicas, "_place", lambda: (1, 3))
    with pytest.raises(BadInput, match="--batch-size"):
        replicas.gather(20, 0)


@pytest.mark.parametrize("line", [["digits-mlp"], ["digits-mlp", "--seeds", "2"]])
def test_hosts_are_refused_where_they_can_not_train_together(line, store, monkeypatch):
    monkeypatch.setenv(replicas.HOSTS, "127.0.0.1:1")
    with pytest.raises(BadInput, match=replicas.HOSTS):
        train.main(line)
