"""Few examples of each class, and some classes only: of every kind of data."""

import numpy as np
import pytest
from PIL import Image

import data
from data import DataConfig
from data.errors import BadInput
from data.images import channel_statistics
from data.store import digest

ORIGINS = {"Czech": "ová", "Dutch": "sen", "Greek": "os", "Irish": "agh"}


@pytest.fixture
def names(tmp_path):
    """A CSV file of 40 names for each of four origins, told by their endings."""
    letters = [a + b for a in "bdgklmnprt" for b in "aeio"]
    lines = [f"{stem}{stem[0]}{ending},{origin}" for origin, ending in ORIGINS.items() for stem in letters]
    path = tmp_path / "names.csv"
    path.write_text("text,label\n" + "\n".join(lines), encoding="utf-8")
    return DataConfig("csv", path=str(path))


@pytest.fixture
def tones(tmp_path):
    """Training, validation and test images of three classes, each of a level of grey of its own."""
    for part, count in (("train", 8), ("val", 3), ("test", 4)):
        for level, name in enumerate(("black", "grey", "white")):
            (tmp_path / "tones" / part / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(np.full((8, 8), 100 * level + number, np.uint8))
                image.save(tmp_path / "tones" / part / name / f"{number}.png")
    return DataConfig("folder", path=str(tmp_path / "tones"), size=8)


def with_options(config, **options):
    return data.load(DataConfig(**{**vars(config), **options}))


def everything(split):
    return split.inputs[np.arange(len(split))]


def refused(**options):
    with pytest.raises(BadInput) as caught:
        data.load(DataConfig(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows_of(split):
    """Which examples a split has, as something that can be compared."""
    return {np.asarray(one).tobytes() for one in everything(split)}


def test_shots_are_so_many_of_each_class_and_leave_the_other_parts_alone():
    whole, few = (data.load(DataConfig("digits", shots=shots)) for shots in (0, 5))
    assert np.bincount(few.train.labels).tolist() == [5] * 10
    assert rows_of(few.train) < rows_of(whole.train)
    for part in ("val", "test"):
        assert np.array_equal(everything(getattr(few, part)), everything(getattr(whole, part)))
    assert few.manifest == whole.manifest


def test_draw_decides_which_examples_and_fewer_are_among_more():
    first, again, more, other = (
        rows_of(data.load(DataConfig("digits", shots=shots, draw=draw)).train)
        for shots, draw in ((3, 0), (3, 0), (7, 0), (3, 1))
    )
    assert first == again < more
    assert other != first


def test_shots_of_texts_make_the_vocabulary(names):
    few = with_options(names, shots=2)
    assert np.bincount(few.train.labels).tolist() == [2] * 4
    assert set(few.spec.vocabulary) == set("".join(everything(few.train)))


@pytest.mark.parametrize("options", [{"shots": 2}, {"limit": 6}])
def test_fewer_examples_of_a_folder_with_a_validation_part(tones, options):
    few = with_options(tones, **options)
    assert np.bincount(few.train.labels).tolist() == [2, 2, 2]
    assert len(few.val) == 9


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shots": 200}, "does not fit"),
        ({"shots": -1}, "does not fit"),
        ({"draw": 1}, "--data.shots 0"),
        ({"shots": 2, "draw": -1}, "is no seed"),
        ({"shots": 2, "limit": 100}, "--data.limit"),
        ({"classes": ("1", "11")}, "no class 11"),
        ({"classes": ("1",)}, "give two or more"),
        ({"classes": ("1", "1")}, "give two or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options, text):
    assert text in refused(name="digits", **options)


def test_unknown_class_is_answered_with_the_known_ones():
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in refused(name="digits", classes=("one", "two"))


def test_classes_keep_the_order_of_the_dataset_and_are_numbered_anew():
    whole, some = data.load(DataConfig("digits")), data.load(DataConfig("digits", classes=("7", "2", "4")))
    assert some.spec.classes == ("2", "4", "7")
    assert some.name == "digits"
    for part in ("train", "test"):
        assert set(getattr(some, part).labels) == {0, 1, 2}
    kept = np.isin(whole.test.labels, (2, 4, 7))
    assert np.array_equal(everything(some.test), everything(whole.test)[kept])
    assert np.array_equal(np.array([2, 4, 7])[some.test.labels], whole.test.labels[kept])
    assert [sum(counts) for counts in some.manifest["counts"].values()] == [
        len(some.train) + len(some.val),
        len(some.test),
    ]


def test_record_of_some_classes_is_that_of_their_examples():
    whole, some = (data.load(DataConfig("digits", classes=classes, validation=0)) for classes in ((), ("2", "4")))
    images = everything(some.train)
    assert some.manifest["classes"] == ["2", "4"]
    assert some.manifest["sha256"] == digest(images, some.train.labels) != whole.manifest["sha256"]
    assert some.manifest["test_sha256"] == digest(everything(some.test), some.test.labels)
    assert (list(some.spec.mean), list(some.spec.deviation)) == channel_statistics(images)
    assert some.spec.mean != whole.spec.mean


def test_classes_may_be_given_with_commas(names):
    assert with_options(names, classes=("Irish,Czech",)).spec.classes == ("Czech", "Irish")


def test_classes_of_texts(names):
    some, whole = with_options(names, classes=("Czech", "Greek")), with_options(names)
    for split in (some.train, some.val, some.test):
        expected = [text.endswith("os") for text in everything(split)]
        assert split.labels.tolist() == expected
    assert some.manifest["test_sha256"] != whole.manifest["test_sha256"]


def test_classes_of_a_folder_with_parts(tones):
    some, whole = with_options(tones, classes=("white", "black")), with_options(tones)
    assert [len(split) for split in (some.train, some.val, some.test)] == [16, 6, 8]
    for split in (some.train, some.val, some.test):
        assert (split.labels == (everything(split)[:, 0, 0, 0] >= 200)).all()
    for key in ("sha256", "test_sha256"):
        assert some.manifest[key] != whole.manifest[key]


def test_classes_that_the_test_part_lacks_are_refused(tones, tmp_path):
    for name in ("grey", "white"):
        for file in (tmp_path / "tones" / "test" / name).iterdir():
            file.unlink()
        (tmp_path / "tones" / "test" / name).rmdir()
    assert "test part" in refused(**{**vars(tones), "classes": ("grey", "white")})


def test_shots_and_classes_go_together():
    some = data.load(DataConfig("digits", classes=("0", "9"), shots=4))
    assert np.bincount(some.train.labels).tolist() == [4, 4]
