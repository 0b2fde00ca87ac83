import io
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import data
from data import decoding, duplicates, standin
from pipelines import ingest
from pipelines.reports import duplicates as told
from pipelines.reports import figures

COUNT = 400


@pytest.fixture(scope="module")
def drawn():
    """Unrelated images of one generator, for training and for the test."""
    return standin.draw(3, COUNT, 40)


def recompressed(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def shifted(image):
    return np.pad(image, ((2, 0), (0, 2), (0, 0)), mode="edge")[:-2, 2:]


COPIES = {
    "equal": lambda image: image,
    "recompressed": recompressed,
    "shifted": shifted,
    "brightened": lambda image: np.clip(1.2 * image + 10.0, 0, 255).astype(np.uint8),
    "recoloured": lambda image: image.mean(axis=2, keepdims=True).astype(np.uint8).repeat(3, axis=2),
    "mirrored": lambda image: image[:, ::-1],
}
"""What becomes of a test image before it stands in the training set."""


def planted(drawn):
    """Training and test images; the first test images stand in the training set, too, at its end."""
    copies = [act(image) for act, image in zip(COPIES.values(), drawn["x_test"], strict=False)]
    return {"train": np.concatenate([drawn["x_train"], copies]), "test": drawn["x_test"]}


def rows(found):
    return {(pair.row, pair.other_row): pair.kind for pair in found.pairs.itertuples()}


EXPECTED = {(row, COUNT + row): name if name in ("equal", "mirrored") else "near" for row, name in enumerate(COPIES)}


def test_copies_are_found_and_images_that_just_are_alike_are_not(drawn):
    found = duplicates.find(planted(drawn))
    assert rows(found) == EXPECTED
    assert found.compared == (("test", "train", 40),)
    assert found.pairs.iloc[0].to_dict() | {"bits": 0, "similarity": 1.0} == found.pairs.iloc[0].to_dict()
    assert found.pairs["similarity"].is_monotonic_decreasing


def test_in_small_pieces_the_same_is_found(drawn, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", (3, 7))
    monkeypatch.setattr(duplicates, "STEP", 4)
    assert rows(duplicates.find(planted(drawn))) == EXPECTED


def test_too_many_candidates_make_it_stricter(drawn, monkeypatch):
    monkeypatch.setattr(duplicates, "CANDIDATES", 1)
    parts = planted(drawn)
    for row in range(4, len(parts["test"])):  # they differ in some bits from what is planted
        parts["test"][row, :, :16] = 0
    found = duplicates.find(parts)
    assert found.strict == duplicates.REACH
    assert not found.pairs["bits"].any()
    assert {(0, COUNT): "equal"}.items() < rows(found).items() < EXPECTED.items()
    assert "at most 0 bits, not 14" in " ".join(told.sentences(found.pairs.assign(**LABELS), found))


LABELS = {"class": "a", "other_class": "a"}


def test_within_one_part_each_image_is_compared_with_those_before(drawn):
    images = np.concatenate([drawn["x_test"], drawn["x_test"][:2], shifted(drawn["x_test"][2])[None]])
    images = np.concatenate([images, images[:1]])
    expected = {(40, 0): "equal", (43, 0): "equal", (41, 1): "equal", (42, 2): "near"}
    assert rows(duplicates.find({"all": images})) == expected


def test_many_equal_images_are_not_paired_each_with_each(drawn):
    image = drawn["x_test"][10]
    images = np.concatenate([drawn["x_test"][:10], np.repeat(image[None], 100, axis=0), shifted(image)[None]])
    expected = {(row, 10): "equal" for row in range(11, 110)} | {(110, 10): "near"}
    assert rows(duplicates.find({"all": images})) == expected


def test_parts_without_images_are_left_out(drawn):
    images = drawn["x_test"]
    found = duplicates.find({"train": images, "val": images[:0], "test": images[3:4]})
    assert rows(found) == {(0, 3): "equal"}
    assert found.compared == (("test", "train", 1),)


def test_images_without_contrast_are_not_near_each_other():
    levels = np.arange(50, 80, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (30, 8, 8, 1))
    assert duplicates.find({"all": images}).pairs.empty


def test_images_that_are_all_alike_are_compared_byte_for_byte_only(run_stage):
    status, out, err = run_stage(ingest, "digits", "--find-duplicates")
    assert (status, err) == (0, "")
    assert "test, 364 images: equal to one of train 0\n" in out
    assert "near-duplicates were not sought" in out
    assert "nothing was found" in out
    assert "duplicates.csv" not in out


def lay(path, parts):
    """PNG files by part and class, and beside each first one a file that is none."""
    for name, images in parts.items():
        (path / name).mkdir(parents=True)
        (path / name / "0.png").write_text("no image")
        for number, image in enumerate(images, 1):
            Image.fromarray(image).save(path / name / f"{number:02}.png")
    return path


@pytest.fixture
def pets(tmp_path, drawn):
    """Four images of each class in three parts; a cat of val is the second dog of train, one of test its mirror."""
    images = {
        f"{part}/{name}": drawn["x_train"][4 * number : 4 * number + 4].copy()
        for number, (part, name) in enumerate((part, name) for part in data.tree.PARTS for name in ("cat", "dog"))
    }
    images["val/cat"][0] = images["train/dog"][1]
    images["test/cat"][2] = images["train/dog"][1][:, ::-1]
    return lay(tmp_path / "pets", images)


def test_names_that_are_no_text_or_look_like_formulas_are_listed(tmp_path, drawn, run_stage):
    path = lay(tmp_path / "pets", {"a$x^": drawn["x_test"][:3], "b": drawn["x_test"][2:5]})
    os.rename(path / "b" / "01.png", os.fsencode(path / "b") + b"/\xff $x^$\n.png")
    status, out, err = run_stage(ingest, "folder", "--from", path, "--size", 32, "--find-duplicates")
    assert (status, err) == (0, "")
    place = next((tmp_path / "cache").glob("folder-pets-*/local"))
    listed = pd.read_csv(place / "duplicates.csv")
    assert listed[["file", "other_file"]].to_numpy().tolist() == [["b/\\udcff $x^$\n.png", "a$x^/03.png"]]
    assert (place / "duplicates.png").exists()


def test_files_that_stand_in_two_parts_are_listed_with_their_labels(pets, run_stage, tmp_path):
    status, out, err = run_stage(ingest, "folder", "--from", pets, "--size", 32, "--find-duplicates")
    assert (status, err) == (0, "")
    place = next((tmp_path / "cache").glob("folder-pets-*/local"))
    assert f"list of all pairs (3): {place / 'duplicates.csv'}" in out
    listed = pd.read_csv(place / "duplicates.csv")
    assert listed[["file", "class", "other_file", "other_class", "kind"]].to_numpy().tolist() == [
        ["val/cat/01.png", "cat", "train/dog/02.png", "dog", "equal"],
        ["test/cat/03.png", "cat", "train/dog/02.png", "dog", "mirrored"],
        ["test/cat/03.png", "cat", "val/cat/01.png", "cat", "mirrored"],
    ]
    assert listed[["row", "other_row"]].to_numpy().tolist() == [[0, 5], [2, 5], [2, 0]]
    assert "val, 8 images: equal to one of train 1, nearly so 0" in out
    assert "test, 8 images: equal to one of val 0, nearly so 1 (12.50%), of these mirrored 1" in out
    assert "different labels, 2 of 3: val/cat/01.png (cat) and train/dog/02.png (dog); test/cat/03.png" in out
    assert "labels differ" in out
    assert np.asarray(Image.open(place / "duplicates.png").convert("RGB")).std() > 20


def test_what_is_in_the_cache_is_not_read_again_and_an_old_list_goes(pets, run_stage, tmp_path, monkeypatch):
    arguments = ("folder", "--from", pets, "--size", 32, "--find-duplicates")
    run_stage(ingest, *arguments)
    place = next((tmp_path / "cache").glob("folder-pets-*/local"))
    monkeypatch.setattr(decoding, "write", None)
    monkeypatch.setattr(duplicates, "FIT", 1.1)
    monkeypatch.setattr(duplicates, "_equal", lambda *_: [])
    assert (place / "duplicates.csv").exists()
    status, out, _ = run_stage(ingest, *arguments)
    assert status == 0
    assert "nothing was found" in out
    assert not list(place.glob("duplicates.*"))


def test_what_stands_in_is_said_to_and_drawn_so(drawn, run_stage, monkeypatch):
    def unreachable(remote, folder):
        raise data.Unreachable("no network")

    images = planted(drawn)
    small = standin.draw(3, COUNT, 40) | {"x_train": images["train"][-COUNT:], "x_test": images["test"]}
    counts = {"train": COUNT, "test": 40}
    known = data.find("cifar10-standin")
    fields = {name: getattr(known, name) for name in ("name", "shape", "classes")}
    monkeypatch.setitem(data.datasets(), known.name, type(known)(**fields, counts=counts, draw=lambda: small))
    monkeypatch.setattr(data.store, "fetch", unreachable)
    seen = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, path: seen.append((figure.get_suptitle(), path.name)))
    status, out, _ = run_stage(ingest, "cifar10", "--find-duplicates")
    assert status == 0
    assert out.startswith("STAND-IN DATA: cifar10-standin instead of cifar10")
    assert seen == [
        ("STAND-IN DATA: cifar10-standin instead of cifar10 (can't be fetched: no network)", "duplicates.png")
    ]
    assert "nearly so 5" in out


@pytest.mark.parametrize("name", ["names", "csv"])
def test_texts_are_refused(name, run_stage, monkeypatch):
    monkeypatch.setattr(data, "store", SimpleNamespace())
    status, out, err = run_stage(ingest, name, "--find-duplicates")
    assert (status, out) == (2, "")
    assert err == f"error: {name}: holds texts, and duplicates are sought among images; leave --find-duplicates out\n"
