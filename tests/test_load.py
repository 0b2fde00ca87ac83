import dataclasses
import json
import socket
import time

import numpy as np
import pytest

import data
from data import DataConfig, download, store
from data.errors import BadInput
from data.spec import Remote


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def numbered(count):
    """Images whose first pixels spell their number; unlike many of each class, in proportions of 1 to 4."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
    labels = np.random.default_rng(0).permutation(np.arange(count) % 25 % 10)
    return images, labels


def numbers(split):
    pixels = split.inputs[np.arange(len(split))][:, 0, :2, 0].astype(int)
    return pixels[:, 0] * 256 + pixels[:, 1]


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A small MNIST whose publisher gives no answer; 500 images for training and 100 for testing."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    dataset = dataclasses.replace(
        data.find("mnist"),
        counts={"train": 500, "test": 100},
        remotes=(Remote(f"http://127.0.0.1:{port}/mnist.npz"),),
    )
    monkeypatch.setitem(data.datasets(), "mnist", dataset)
    return dataset


@pytest.fixture
def copy(tmp_path, mnist):
    path = tmp_path / "mnist.npz"
    (x_train, y_train), (x_test, y_test) = numbered(500), numbered(100)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture
def local(copy):
    data.ingest("mnist", copy)
    return copy


def refused(config):
    with pytest.raises(BadInput) as caught:
        data.load(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("validation", "count"), [(0.1, 50), (0.25, 125), (50, 50), (10, 10), (490, 490)])
def test_validation_is_cut_from_the_training_set_by_fraction_or_count(local, validation, count):
    splits = data.load(DataConfig("mnist", validation=validation))
    assert len(splits.val) == count
    assert len(splits.train) == 500 - count
    assert sorted([*numbers(splits.train), *numbers(splits.val)]) == list(range(500))
    assert numbers(splits.test).tolist() == list(range(100))


def test_validation_has_each_class_in_its_proportion(local):
    splits = data.load(DataConfig("mnist", validation=0.2))
    whole = np.bincount(numbered(500)[1])
    assert whole.min() * 3 == whole.max() * 2
    assert np.bincount(splits.val.labels).tolist() == (whole // 5).tolist()
    assert np.bincount(splits.train.labels).tolist() == (whole - whole // 5).tolist()


def test_labels_stay_with_their_images(local):
    splits = data.load(DataConfig("mnist", limit=200))
    labels = numbered(500)[1]
    for split in (splits.train, splits.val):
        assert np.array_equal(split.labels, labels[numbers(split)])


def test_validation_zero_keeps_the_whole_training_set(local):
    splits = data.load(DataConfig("mnist", validation=0))
    assert numbers(splits.train).tolist() == list(range(500))
    assert len(splits.val) == 0


@pytest.mark.parametrize(
    "validation", [-1, -0.1, 0.001, 0.999, 1, 9, 491, 500, 501, 10**9, 50.5, 1e300, float("nan"), float("inf")]
)
def test_validation_that_can_not_be_cut_is_refused(local, validation):
    text = refused(DataConfig("mnist", validation=validation))
    assert "--data.validation" in text
    assert "500" in text


@pytest.mark.parametrize("limit", [10, 100, 299, 390, 400])
def test_limit_is_the_number_of_training_examples(local, limit):
    splits = data.load(DataConfig("mnist", validation=100, limit=limit))
    assert len(splits.train) == limit
    assert set(splits.train.labels) == set(range(10)) or limit < 20
    whole = data.load(DataConfig("mnist", validation=100))
    assert set(numbers(splits.train)) <= set(numbers(whole.train))
    assert np.array_equal(numbers(splits.val), numbers(whole.val))


def test_limit_takes_each_class_in_its_proportion(local):
    splits = data.load(DataConfig("mnist", validation=0, limit=100))
    assert np.bincount(splits.train.labels).tolist() == (np.bincount(numbered(500)[1]) // 5).tolist()


@pytest.mark.parametrize("limit", [-1, 1, 9, 391, 399, 401, 500, 10**9])
def test_limit_that_does_not_fit_is_refused(local, limit):
    text = refused(DataConfig("mnist", validation=100, limit=limit))
    assert f"--data.limit {limit}" in text
    assert "400" in text


def test_split_depends_on_the_configuration_only(local):
    config = DataConfig("mnist", limit=200)
    np.random.seed(1)
    first = data.load(config)
    np.random.seed(2)
    second = data.load(config)
    for name in ("train", "val"):
        assert np.array_equal(numbers(getattr(first, name)), numbers(getattr(second, name)))
    assert numbers(first.val)[:8].tolist() == [4, 11, 14, 35, 45, 51, 60, 86]


def test_spec_describes_the_training_set(local):
    splits = data.load(DataConfig("mnist"))
    exact = numbered(500)[0].astype(np.float64) / 255
    assert splits.spec.shape == (28, 28, 1)
    assert splits.spec.classes == tuple("0123456789")
    assert splits.spec.mean == pytest.approx((exact.mean(),))
    assert splits.spec.deviation == pytest.approx((exact.std(),))
    assert splits.name == "mnist"
    assert splits.notice == ""


@pytest.mark.parametrize("source", ["auto", "local"])
def test_local_copy_is_used(local, source):
    splits = data.load(DataConfig("mnist", source=source))
    assert splits.manifest["source"] == "local"
    assert splits.notice == ""


def test_local_copy_is_preferred_to_the_official_one(local, mnist):
    drawn = dataclasses.replace(mnist, draw=lambda: {key: array[::-1] for key, array in np.load(local).items()})
    manifest = store.ingest(drawn, "embedded")
    store.folder(mnist, "embedded").rename(store.folder(mnist, "official"))
    assert data.load(DataConfig("mnist", source="official")).manifest == manifest
    assert data.load(DataConfig("mnist")).manifest["origin"] == str(local)


def test_what_was_ingested_is_used_without_its_origin(local):
    local.unlink()
    assert len(data.load(DataConfig("mnist", validation=0)).train) == 500


def test_unreachable_publisher_is_replaced_by_the_stand_in_with_a_notice(mnist):
    splits = data.load(DataConfig("mnist"))
    assert splits.name == "digits"
    assert splits.spec.shape == (8, 8, 1)
    assert "STAND-IN" in splits.notice
    assert "digits instead of mnist" in splits.notice
    assert "make ingest-mnist" in splits.notice
    assert "\n" not in splits.notice


def test_silent_publisher_is_given_up_within_its_time(mnist, monkeypatch):
    monkeypatch.setattr(download, "SILENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        remote = Remote(f"http://127.0.0.1:{server.getsockname()[1]}/mnist.npz")
        monkeypatch.setitem(data.datasets(), "mnist", dataclasses.replace(mnist, remotes=(remote,)))
        start = time.monotonic()
        splits = data.load(DataConfig("mnist"))
        assert time.monotonic() - start < 3
    assert splits.name == "digits"
    assert "0.3 s" in splits.notice


@pytest.mark.parametrize("name", [name for name, dataset in data.datasets().items() if dataset.remotes])
def test_every_dataset_with_a_publisher_has_an_embedded_stand_in(name):
    assert data.find(data.find(name).fallback).draw


def test_source_official_is_refused_when_the_publisher_is_unreachable(mnist):
    text = refused(DataConfig("mnist", source="official"))
    assert mnist.remotes[0].url in text
    assert "make ingest-mnist FROM=" in text


def test_ingest_is_refused_when_the_publisher_is_unreachable(mnist):
    with pytest.raises(BadInput, match="FROM=path") as caught:
        data.ingest("mnist")
    assert mnist.remotes[0].url in str(caught.value)


def test_failed_download_leaves_nothing_behind(mnist, cache):
    data.load(DataConfig("mnist"))
    assert [entry.name for entry in (cache / "mnist" / "official").iterdir() if entry.name != "lock"] == []


def test_source_local_is_refused_without_a_copy(mnist):
    assert "make ingest-mnist FROM=" in refused(DataConfig("mnist", source="local"))


def test_source_embedded_takes_the_stand_in_though_there_is_a_copy(local):
    splits = data.load(DataConfig("mnist", source="embedded"))
    assert splits.name == "digits"
    assert "mnist" in splits.notice


@pytest.mark.parametrize("source", ["auto", "embedded"])
def test_embedded_dataset_stands_in_for_nothing(source):
    splits = data.load(DataConfig("digits", source=source))
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (1433, 364)
    assert splits.notice == ""


@pytest.mark.parametrize("source", ["official", "local"])
def test_embedded_dataset_has_no_other_source(source):
    assert "digits" in refused(DataConfig("digits", source=source))


def test_digits_for_training_and_testing_are_different_images():
    splits = data.load(DataConfig("digits", validation=0))
    train, test = (
        {image.tobytes() for image in np.asarray(split.inputs[np.arange(len(split))])}
        for split in (splits.train, splits.test)
    )
    assert not train & test


def test_unknown_dataset_is_refused_and_the_known_ones_are_named():
    text = refused(DataConfig("cifar"))
    assert all(name in text for name in data.datasets())


def test_damaged_local_copy_is_not_replaced_by_another_source(local, cache):
    path = next((cache / "mnist" / "local").glob("*/x_train.npy"))
    path.write_bytes(path.read_bytes()[:-1])
    assert str(path) in refused(DataConfig("mnist"))


def test_manifest_written_before_there_were_kinds_is_still_read(local, cache):
    path = cache / "mnist" / "local" / "manifest.json"
    manifest = json.loads(path.read_text())
    for since in ("kind", "crc32"):
        manifest.pop(since)
    path.write_text(json.dumps(manifest | {"task": "classification"}))
    splits = data.load(DataConfig("mnist"))
    assert splits.spec.kind == "images"
    assert splits.manifest["sha256"] == manifest["sha256"]
