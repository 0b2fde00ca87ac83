import dataclasses
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import data
from data import store
from data.errors import BadInput

ROOT = Path(__file__).resolve().parents[1]

DRIVER = """
import dataclasses, json, os, resource, signal, sys
from pathlib import Path
import numpy as np
import data
from data import store
from data.errors import BadInput

event, source = sys.argv[1], Path(sys.argv[2])
mnist = dataclasses.replace(data.find("mnist"), counts={"train": 40, "test": 20})

def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

if event == "kill in array":
    saved = []
    def save(file, array, real=np.save):
        saved.append(array)
        if len(saved) == 3:
            file.write(b"half")
            file.flush()
            killed()
        real(file, array)
    np.save = save
elif event == "kill before manifest":
    def rename(self, target, real=Path.rename):
        if Path(target).name == "manifest.json":
            killed()
        return real(self, target)
    Path.rename = rename
elif event == "full disk":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    print(json.dumps(store.ingest(mnist, "local", source)))
except BadInput as error:
    sys.exit(f"error: {error}")
"""

MNIST = dataclasses.replace(data.find("mnist"), counts={"train": 40, "test": 20})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_copy(path, seed=0):
    generator = np.random.default_rng(seed)
    arrays = {}
    for split, count in (("train", 40), ("test", 20)):
        arrays[f"x_{split}"] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"y_{split}"] = generator.permutation(np.arange(count) % 10)
    np.savez(path, **arrays)
    return arrays


@pytest.fixture
def copy(tmp_path):
    make_copy(tmp_path / "first.npz", 0)
    return tmp_path / "first.npz"


@pytest.fixture
def other(tmp_path):
    make_copy(tmp_path / "second.npz", 1)
    return tmp_path / "second.npz"


def start(event, path):
    command = [sys.executable, "-c", DRIVER, event, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def cached():
    """The arrays that a reader gets now, or None where nothing was ingested."""
    manifest = store.read_manifest(MNIST, "local")
    return manifest and store.open_arrays(MNIST, "local", manifest)


def holds(path):
    with np.load(path) as arrays:
        return np.array_equal(cached()["x_train"][..., 0], arrays["x_train"])


def tidy(place):
    """Whether a place holds the lock, the manifest and one version, and nothing else."""
    version = store.read_manifest(MNIST, "local")["version"]
    return {entry.name for entry in place.iterdir()} - {"lock"} == {"manifest.json", version}


def refused(read, *arguments):
    with pytest.raises(BadInput) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_second_ingest_touches_no_file(cache, copy):
    first = store.ingest(MNIST, "local", copy)
    before = {entry: entry.stat() for entry in cache.rglob("*") if entry.is_file() and entry.name != "lock"}
    assert store.ingest(MNIST, "local", copy) == first
    after = {entry: entry.stat() for entry in cache.rglob("*") if entry.is_file() and entry.name != "lock"}
    assert before.keys() == after.keys()
    for entry, status in before.items():
        assert (status.st_ino, status.st_mtime_ns) == (after[entry].st_ino, after[entry].st_mtime_ns)


def test_other_data_replaces_the_version_before(cache, copy, other):
    first = store.ingest(MNIST, "local", copy)
    second = store.ingest(MNIST, "local", other)
    assert first["version"] != second["version"]
    assert holds(other)
    assert tidy(cache / "mnist" / "local")


def test_same_data_from_another_path_keeps_the_arrays_and_records_the_path(cache, copy, tmp_path):
    first = store.ingest(MNIST, "local", copy)
    array = cache / "mnist" / "local" / first["version"] / "x_train.npy"
    inode = array.stat().st_ino
    moved = copy.rename(tmp_path / "moved.npz")
    second = store.ingest(MNIST, "local", moved)
    assert second["origin"] == str(moved)
    assert store.read_manifest(MNIST, "local") == second
    assert array.stat().st_ino == inode
    assert tidy(cache / "mnist" / "local")


def test_sources_do_not_replace_each_other(cache, copy, other):
    store.ingest(MNIST, "local", copy)
    drawn = dataclasses.replace(MNIST, draw=lambda: dict(np.load(other)))
    store.ingest(drawn, "embedded")
    assert holds(copy)
    assert store.read_manifest(drawn, "embedded")


def test_cached_arrays_are_as_readable_as_the_umask_says(cache, copy):
    before = os.umask(0o022)
    try:
        manifest = store.ingest(MNIST, "local", copy)
    finally:
        os.umask(before)
    version = cache / "mnist" / "local" / manifest["version"]
    assert stat.S_IMODE(version.stat().st_mode) == 0o755
    assert stat.S_IMODE((version / "x_train.npy").stat().st_mode) == 0o644


@pytest.mark.parametrize("event", ["kill in array", "kill before manifest"])
@pytest.mark.parametrize("before", [False, True])
def test_kill_leaves_the_old_state_and_the_next_ingest_works(cache, copy, other, event, before):
    if before:
        store.ingest(MNIST, "local", copy)
    process = start(event, other)
    process.communicate()
    assert process.returncode == -9
    assert holds(copy) if before else cached() is None
    store.ingest(MNIST, "local", other)
    assert holds(other)
    assert tidy(cache / "mnist" / "local")


def test_four_processes_at_once_all_succeed(cache, copy):
    processes = [start("", copy) for _ in range(4)]
    results = [(*process.communicate(), process.returncode) for process in processes]
    assert [(error, status) for _, error, status in results] == [("", 0)] * 4
    manifests = [json.loads(output) for output, _, _ in results]
    assert all(manifest == store.read_manifest(MNIST, "local") for manifest in manifests)
    assert holds(copy)
    assert tidy(cache / "mnist" / "local")


@pytest.mark.parametrize("before", [False, True])
def test_full_disk_is_one_line_and_leaves_the_old_state(cache, copy, other, before):
    if before:
        store.ingest(MNIST, "local", copy)
    process = start("full disk", other)
    error = process.communicate()[1]
    assert process.returncode == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "can't be written" in error
    assert str(cache) in error
    assert holds(copy) if before else cached() is None
    store.ingest(MNIST, "local", other)
    assert holds(other)
    assert tidy(cache / "mnist" / "local")


@pytest.mark.parametrize("level", ["cache", "cache/mnist", "cache/mnist/local"])
def test_file_in_the_place_of_the_cache_is_refused(tmp_path, copy, level):
    (tmp_path / level).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / level).write_text("not a folder")
    text = refused(store.ingest, MNIST, "local", copy)
    assert "can't be written" in text
    assert "DATA_CACHE" in text
    assert str(tmp_path / level) in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_cache_that_may_not_be_written_is_refused(cache, copy):
    cache.mkdir(mode=0o500)
    assert "can't be written" in refused(store.ingest, MNIST, "local", copy)


def test_refused_copy_leaves_the_old_state(cache, copy, tmp_path):
    store.ingest(MNIST, "local", copy)
    bad = tmp_path / "bad.npz"
    np.savez(bad, x_train=np.zeros(3))
    refused(store.ingest, MNIST, "local", bad)
    assert holds(copy)
    assert tidy(cache / "mnist" / "local")


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
    elif kind == "pixel":
        content[-1] ^= 1
        path.write_bytes(content)
    elif kind == "header":
        content[content.index(b"}")] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[: {"half": len(content) // 2, "empty": 0}[kind]])


@pytest.mark.parametrize("kind", ["missing", "pixel", "header", "half", "empty"])
@pytest.mark.parametrize("key", ["x_train", "y_test"])
def test_damaged_cache_is_named_and_mended_by_another_ingest(cache, copy, kind, key):
    manifest = store.ingest(MNIST, "local", copy)
    path = cache / "mnist" / "local" / manifest["version"] / f"{key}.npy"
    damage(path, kind)
    text = refused(cached)
    assert str(path) in text
    assert "make ingest-mnist" in text
    store.ingest(MNIST, "local", copy)
    assert holds(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": "0"}', "\0"])
def test_damaged_manifest_is_named(cache, copy, content):
    store.ingest(MNIST, "local", copy)
    path = cache / "mnist" / "local" / "manifest.json"
    path.write_text(content)
    assert str(path) in refused(store.read_manifest, MNIST, "local")


def test_manifest_describes_what_was_read(copy):
    manifest = store.ingest(MNIST, "local", copy)
    with np.load(copy) as file:
        arrays = dict(file)
    assert manifest["name"] == "mnist"
    assert manifest["source"] == "local"
    assert manifest["origin"] == str(copy)
    assert manifest["read"] == {"first.npz": hashlib.sha256(copy.read_bytes()).hexdigest()}
    assert manifest["classes"] == list("0123456789")
    for split in ("train", "test"):
        assert manifest["counts"][split] == [int((arrays[f"y_{split}"] == digit).sum()) for digit in range(10)]
    assert manifest["arrays"]["x_train"]["shape"] == [40, 28, 28, 1]
    assert manifest["arrays"]["x_train"]["dtype"] == manifest["arrays"]["y_test"]["dtype"] == "uint8"
    assert store.read_manifest(MNIST, "local") == manifest


def test_mean_and_deviation_agree_with_numpy_for_each_channel():
    generator = np.random.default_rng(0)
    images = generator.integers([0, 50, 200], [256, 100, 201], (100, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(100) % 10
    arrays = {"x_train": images, "y_train": labels, "x_test": 255 - images[:10], "y_test": labels[:10]}
    counts = {"train": 100, "test": 10}
    dataset = dataclasses.replace(data.find("cifar10-standin"), counts=counts, draw=lambda: dict(arrays))
    manifest = store.ingest(dataset, "embedded")
    exact = images.astype(np.float64) / 255
    assert manifest["mean"] == pytest.approx(exact.mean((0, 1, 2)), abs=1e-12)
    assert manifest["deviation"] == pytest.approx(exact.std((0, 1, 2)), abs=1e-12)


@pytest.mark.parametrize(
    ("key", "changed", "kept"),
    [
        ("x_train", "sha256", "test_sha256"),
        ("y_train", "sha256", "test_sha256"),
        ("x_test", "test_sha256", "sha256"),
        ("y_test", "test_sha256", "sha256"),
    ],
)
def test_checksum_changes_with_the_last_value(copy, tmp_path, key, changed, kept):
    arrays = make_copy(copy)
    first = store.ingest(MNIST, "local", copy)
    arrays[key].flat[-1] = (arrays[key].flat[-1] + 1) % 10
    np.savez(tmp_path / "changed.npz", **arrays)
    second = store.ingest(MNIST, "local", tmp_path / "changed.npz")
    assert first[changed] != second[changed]
    assert first[kept] == second[kept]
    assert first["version"] != second["version"]


def test_checksum_tells_arrays_of_the_same_bytes_apart():
    array = np.arange(12, dtype=np.uint8)
    assert store.digest(array) != store.digest(array.reshape(3, 4))
    assert store.digest(array) != store.digest(array.view(np.int8))
    assert store.digest(array) == store.digest(np.repeat(array, 2)[::2])


def test_cached_arrays_can_not_be_changed(copy):
    store.ingest(MNIST, "local", copy)
    with pytest.raises(ValueError, match="read-only"):
        cached()["x_train"][0] = 0


def test_ingest_of_an_embedded_dataset_takes_no_copy(copy):
    assert "digits" in refused(data.ingest, "digits", copy)


def test_ingest_of_an_unknown_dataset_names_those_there_are():
    assert "cifar10" in refused(data.ingest, "cifar11", None)


def test_ingest_of_a_missing_path_is_refused(tmp_path):
    assert str(tmp_path / "nowhere") in refused(data.ingest, "mnist", tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["unknown", "missing", "damaged", "cache"])
def test_command_ends_with_status_two_and_one_line(tmp_path, cache, run_stage, kind):
    from pipelines import ingest

    path = tmp_path / "copy.npz"
    if kind != "missing":
        path.write_bytes(b"PK\x03\x04 cut off")
    if kind == "cache":
        cache.write_text("not a folder")
    status, out, err = run_stage(ingest, "unknown" if kind == "unknown" else "mnist", "--from", path)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert str({"unknown": "unknown", "cache": cache}.get(kind, path)) in err
