import numpy as np
import pytest
from PIL import Image

import data
from data import DataConfig, decoding
from data.errors import BadInput

GENERATOR = np.random.default_rng(0)


def noise(height=20, width=30, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return Image.fromarray(GENERATOR.integers(0, 256, shape, dtype=np.uint8))


def fill(path, counts, channels=3):
    """A folder for each class with so many images of noise."""
    for name, count in counts.items():
        (path / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise(channels=channels).save(path / name / f"{number:02}.png")
    return path


def loaded(path, **options):
    return data.load(DataConfig("folder", path=str(path), **{"size": 16, **options}))


def images(split):
    return np.asarray(split.inputs[np.arange(len(split))])


def single(path, image, name="0.png", size=4, **options):
    """An image as it is stored; it lies twice in its folder, because one is too few."""
    for part in ("train", "test"):
        (path / part / "class").mkdir(parents=True)
        for number in range(2):
            image.save(path / part / "class" / f"{number}{name}", **options)
    return images(loaded(path, size=size, validation=0).train)[0]


def refused(path, **options):
    with pytest.raises(BadInput) as caught:
        loaded(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def pets(tmp_path):
    return fill(tmp_path / "pets", {"cat": 20, "dog": 30})


def test_folders_are_classes_and_a_fifth_of_each_is_the_test_set(pets):
    splits = loaded(pets)
    assert splits.name == "folder-pets"
    assert (splits.spec.kind, splits.spec.classes, splits.spec.shape) == ("images", ("cat", "dog"), (16, 16, 3))
    assert np.bincount(splits.test.labels).tolist() == [4, 6]
    assert np.bincount(splits.val.labels).tolist() == [2, 2]
    assert np.bincount(splits.train.labels).tolist() == [14, 22]
    assert images(splits.train).dtype == np.uint8


def test_images_stay_with_their_class(tmp_path):
    for name, level in (("black", 0), ("white", 255)):
        (tmp_path / "tones" / name).mkdir(parents=True)
        for number in range(10):
            grey = np.full((20, 20), abs(level - number), np.uint8)
            Image.fromarray(grey).save(tmp_path / "tones" / name / f"{number}.png")
    splits = loaded(tmp_path / "tones")
    for split in (splits.train, splits.val, splits.test):
        assert ((images(split)[:, 0, 0, 0] > 127) == split.labels).all()


def test_mean_and_deviation_are_those_of_the_training_part(pets):
    splits = loaded(pets, validation=0)
    exact = images(splits.train) / 255
    assert splits.spec.mean == pytest.approx(exact.mean((0, 1, 2)))
    assert splits.spec.deviation == pytest.approx(exact.std((0, 1, 2)))


def test_split_decides_on_the_test_set_and_its_checksums(pets):
    first, again, other = (loaded(pets, split=seed) for seed in (0, 0, 1))
    assert first.manifest == again.manifest
    for key in ("sha256", "test_sha256"):
        assert first.manifest[key] != other.manifest[key]
    assert not np.array_equal(images(first.test), images(other.test))


def test_copies_of_an_image_stay_together(tmp_path):
    path = fill(tmp_path / "pets", {"cat": 10, "dog": 10})
    for file in list(path.glob("*/*.png")):
        for number in range(3):
            (file.parent / f"{file.stem}-{number}.png").write_bytes(file.read_bytes())
    splits = loaded(path)
    parts = [{image.tobytes() for image in images(split)} for split in (splits.train, splits.val, splits.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 20
    assert splits.manifest["facts"]["different images"] == 20


def test_parts_with_folders_of_their_own_are_used_as_they_are(tmp_path):
    for part, count in (("train", 9), ("val", 4), ("test", 5)):
        fill(tmp_path / "pets" / part, {"cat": count, "dog": count})
    splits = loaded(tmp_path / "pets")
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [18, 8, 10]
    whole = loaded(tmp_path / "pets", validation=0)
    assert [len(split) for split in (whole.train, whole.val, whole.test)] == [26, 0, 10]
    assert whole.manifest == splits.manifest
    assert "--data.split" in refused(tmp_path / "pets", split=1)


def test_validation_is_cut_where_it_has_no_folder(tmp_path):
    for part, count in (("train", 10), ("test", 5)):
        fill(tmp_path / "pets" / part, {"cat": count, "dog": count})
    splits = loaded(tmp_path / "pets", validation=0.2)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [16, 4, 10]


def test_images_without_class_folders_are_of_one_class(tmp_path):
    splits = loaded(fill(tmp_path, {"photos": 20}) / "photos")
    assert splits.spec.classes == ("photos",)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [14, 2, 4]


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "bmp", "gif", "webp", "tif"])
def test_formats(tmp_path, ending):
    image = Image.new("RGB", (20, 20), (250, 128, 5))
    stored = single(tmp_path / "photos", image, f".{ending}")
    assert stored.shape == (4, 4, 3)
    assert np.abs(stored.astype(int) - (250, 128, 5)).max() < 8


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40)])
def test_the_middle_square_is_kept(tmp_path, width, height):
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 2 - 10 : height // 2 + 10, width // 2 - 10 : width // 2 + 10] = 200
    assert (single(tmp_path / "photos", Image.fromarray(pixels)) == 200).all()


def test_images_are_turned_as_exif_says(tmp_path):
    image = Image.new("L", (20, 20))
    image.paste(255, (0, 0, 20, 10))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the upper half becomes the right one
    stored = single(tmp_path / "photos", image, ".jpg", exif=exif)
    assert stored[:, 0].max() < 30
    assert stored[:, 3].min() > 225


def test_transparent_pixels_become_white(tmp_path):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert (single(tmp_path / "photos", image) == 255).all()


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("CMYK", 3)])
def test_channels_by_mode(tmp_path, mode, channels):
    ending = ".jpg" if mode == "CMYK" else ".png"
    assert single(tmp_path / "photos", Image.new(mode, (8, 8)), ending).shape == (4, 4, channels)


def test_grey_images_among_coloured_ones_are_coloured(pets):
    fill(pets, {"fox": 10}, channels=1)
    splits = loaded(pets, validation=0)
    foxes = images(splits.train)[splits.train.labels == 2]
    assert foxes.shape[1:] == (16, 16, 3)
    assert (foxes == foxes[..., :1]).all()


def test_unreadable_files_are_left_out_and_named(pets):
    (pets / "cat" / "text.jpg").write_text("no image")
    (pets / "cat" / "empty.png").touch()
    content = (pets / "dog" / "00.png").read_bytes()
    (pets / "dog" / "half.png").write_bytes(content[: len(content) // 2])
    Image.fromarray(np.zeros((8, 8), np.float32)).save(pets / "dog" / "deep.tif")
    facts = loaded(pets).manifest["facts"]
    assert (facts["images"], facts["files left out"]) == (50, 4)
    named = " ".join(value for key, value in facts.items() if key.startswith("left out"))
    for name in ("text.jpg", "empty.png", "half.png", "deep.tif"):
        assert name in named


def test_other_files_and_hidden_ones_are_passed_over(pets):
    for name in ("notes.txt", "._00.png", ".DS_Store"):
        (pets / "cat" / name).write_text("no image")
        (pets / name).write_text("no image")
    (pets / ".cache").mkdir()
    facts = loaded(pets).manifest["facts"]
    assert (facts["images"], facts["files left out"]) == (50, 0)


def test_image_of_too_many_pixels_is_left_out(pets, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    noise(50, 50).save(pets / "cat" / "bomb.png")
    facts = loaded(pets).manifest["facts"]
    assert (facts["images"], facts["files left out"]) == (50, 1)


def test_unchanged_folder_is_not_read_again_and_a_changed_one_is(pets, monkeypatch):
    first = loaded(pets)
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "write", None)
        assert loaded(pets).manifest == first.manifest
    noise().save(pets / "cat" / "00.png")
    assert loaded(pets).manifest["version"] != first.manifest["version"]


def test_sizes_are_kept_apart(pets):
    assert loaded(pets, size=8).spec.shape == (8, 8, 3)
    assert loaded(pets, size=16).spec.shape == (16, 16, 3)


def test_ingest_takes_the_default_size(pets, run_stage):
    from pipelines import ingest

    status, out, err = run_stage(ingest, "folder", "--from", pets)
    assert (status, err) == (0, "")
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines()]
    rows = dict(row for row in cells if len(row) == 2)
    assert (rows["cat"], rows["dog"], rows["side in pixels"]) == ("20", "30", "64")


def lay(path, kind):
    if kind == "file":
        path.write_text("no folder")
    elif kind == "empty":
        path.mkdir()
    elif kind == "empty class":
        fill(path, {"cat": 5, "dog": 0})
    elif kind == "one image":
        fill(path, {"cat": 5, "dog": 1})
    elif kind == "loose images":
        noise().save(fill(path, {"cat": 5, "dog": 5}) / "0.png")
    elif kind == "no test":
        fill(path / "train", {"cat": 5, "dog": 5})
    elif kind == "strange class":
        fill(path / "train", {"cat": 5, "dog": 5})
        fill(path / "test", {"cat": 5, "fox": 5})
    elif kind == "unreadable":
        fill(path, {"cat": 0, "dog": 0})
        for name in ("cat", "dog"):
            (path / name / "0.png").write_text("no image")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "no such file"),
        ("file", "is no folder"),
        ("empty", "holds no images"),
        ("empty class", "dog: holds no images"),
        ("one image", "class dog has fewer than 2 images"),
        ("loose images", "beside folders"),
        ("no test", "no test"),
        ("strange class", "has no class fox"),
        ("unreadable", "none of 2 images can be read"),
    ],
)
def test_folder_of_another_form_is_refused(tmp_path, kind, text):
    lay(tmp_path / "pets", kind)
    found = refused(tmp_path / "pets")
    assert text in found
    assert str(tmp_path / "pets") in found


@pytest.mark.parametrize("size", [-1, 0, 3, 1025])
def test_size_that_makes_no_sense_is_refused(pets, size):
    assert refused(pets, size=size).startswith("--data.size")


def test_too_few_images_for_three_parts_are_refused(tmp_path):
    assert "can't be cut" in refused(fill(tmp_path / "pets", {"cat": 2, "dog": 2}))
