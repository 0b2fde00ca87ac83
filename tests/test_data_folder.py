import base64
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import data
from data import DataConfig, decoding, pictures, spec, store
from data.errors import BadInput
from models.dense import MultilayerPerceptron
from pipelines import ingest, preparation, reports, servable, tasks
from pipelines.reports import autoencoding
from pipelines.settings import Recipe
from tests.conftest import make_splits

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


def single(path, image, name="0.png", size=4, resize="crop", **options):
    """An image as it is stored; it lies twice in its folder, because one is too few."""
    for part in ("train", "test"):
        (path / part / "class").mkdir(parents=True)
        for number in range(2):
            image.save(path / part / "class" / f"{number}{name}", **options)
    return images(loaded(path, size=size, resize=resize, validation=0).train)[0]


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


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("P", 3), ("RGB", 3), ("CMYK", 3)]
)
def test_channels_by_mode(tmp_path, mode, channels):
    ending = ".jpg" if mode == "CMYK" else ".png"
    assert single(tmp_path / "photos", Image.new(mode, (8, 8)), ending).shape == (4, 4, channels)


@pytest.mark.parametrize(("resize", "end", "beside"), [("crop", 200, 200), ("pad", 100, 0), ("stretch", 100, 200)])
@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40)])
def test_resizing(tmp_path, resize, end, beside, width, height):
    pixels = np.full((height, width), 100, np.uint8)
    pixels[height // 2 - 10 : height // 2 + 10, width // 2 - 10 : width // 2 + 10] = 200
    stored = single(tmp_path / "photos", Image.fromarray(pixels), size=8, resize=resize)[..., 0]
    stored = np.rint(stored / 20) * 20  # bicubic filters overshoot
    along, across = (stored[4], stored[:, 4]) if width > height else (stored[:, 4], stored[4])
    assert (along[4], along[0], across[0]) == (200, end, beside)


def test_images_of_extreme_proportions_are_read(tmp_path):
    for resize in ("crop", "pad", "stretch"):
        assert single(tmp_path / resize, Image.new("RGB", (300, 1), "red"), resize=resize).shape == (4, 4, 3)


def test_sixteen_bits_of_grey_are_scaled_to_eight(tmp_path):
    deep = Image.fromarray(np.full((8, 8), 0x10FF, np.uint16))
    assert (single(tmp_path / "photos", deep) == 0x11).all()


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    stored = single(tmp_path / "photos", frames[0], ".gif", save_all=True, append_images=frames[1:])
    assert (stored == (255, 0, 0)).all()


def test_large_photographs_are_turned_and_cut_as_small_ones(tmp_path):
    image = noise(6, 8).resize((800, 600), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = single(tmp_path / "photos", image, ".jpg", size=16, exif=exif, quality=95)
    middle = image.rotate(90, expand=True).crop((0, 100, 600, 700))
    exact = np.asarray(middle.resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(stored.astype(int) - exact).mean() < 2


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_recorded_model_reads_a_file_as_ingest_did(pets, tmp_path, resize):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(200, 300).save(path, exif=exif)
    for number in range(2):
        (pets / "cat" / f"a{number}.jpg").write_bytes(path.read_bytes())
    splits = loaded(pets, resize=resize)
    everything = [image.tobytes() for split in (splits.train, splits.val, splits.test) for image in images(split)]
    task = tasks.bind(Recipe(DataConfig("folder", resize=resize), MultilayerPerceptron()), splits)
    for given in (str(path), base64.b64encode(path.read_bytes()).decode()):
        found = servable.ImageInput(task.serving())(np.array([given]))
        assert everything.count(found[0].tobytes()) == 2


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


def test_strict_refuses_unreadable_files_ingested_or_not(pets):
    loaded(pets)
    for name in ("a", "b"):
        (pets / "cat" / f"{name}.png").write_text("no image")
    for _ in range(2):
        text = refused(pets, strict=True)
        assert "2 of 52 files" in text
        assert f"{pets / 'cat' / 'a.png'}: in no known format" in text
        assert loaded(pets).remarks == (text.partition(f"{pets}: ")[2].partition(";")[0],)


def test_images_that_stand_in_two_parts_are_said_or_refused(tmp_path):
    path = tmp_path / "pets"
    for part, count in (("train", 5), ("val", 3), ("test", 4)):
        fill(path / part, {"cat": count, "dog": count})
    assert loaded(path).remarks == ()
    Image.open(path / "train" / "cat" / "03.png").save(path / "test" / "cat" / "copy.bmp")
    Image.open(path / "val" / "dog" / "00.png").save(path / "train" / "dog" / "copy.png")
    remarks = loaded(path).remarks
    assert len(remarks) == 2
    assert f"1, the first {path}/val/dog/00.png, as {path}/train/dog/copy.png" in remarks[0]
    assert f"1, the first {path}/test/cat/copy.bmp, as {path}/train/cat/03.png" in remarks[1]
    assert remarks[0] in refused(path, strict=True)


def test_faults_are_said_before_training(pets, capsys):
    (pets / "cat" / "text.jpg").write_text("no image")
    recipe = Recipe(DataConfig("folder", path=str(pets), size=8), MultilayerPerceptron())
    preparation.load(recipe, "", reports.console())
    assert "folder-pets: 1 of 51 files can't be read, the first:" in capsys.readouterr().out


def test_ingest_that_is_interrupted_leaves_nothing(pets, monkeypatch):
    def interrupt(*arguments):
        if list((pets.parent / "cache").glob("*/local/writing/x.npy")):
            raise KeyboardInterrupt
        return np.zeros((16, 16, 3), np.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(pictures, "pixels", interrupt)
        with pytest.raises(KeyboardInterrupt):
            loaded(pets)
    assert {file.name for file in (pets.parent / "cache").glob("*/local/*")} == {"lock"}
    assert len(np.unique(images(loaded(pets).train), axis=0)) == 36


def test_manifest_of_another_version_is_made_anew(pets):
    first = loaded(pets).manifest
    path = next((pets.parent / "cache").glob("*/local/manifest.json"))
    for content in ("{", json.dumps({key: value for key, value in first.items() if key != "faults"})):
        path.write_text(content)
        assert loaded(pets).manifest | {"ingested": ""} == first | {"ingested": ""}


def test_a_copy_that_keeps_its_size_and_time_is_noticed(pets):
    first = loaded(pets)
    file, other = pets / "cat" / "00.png", pets / "dog" / "00.png"
    size = max(file.stat().st_size, other.stat().st_size)
    content = [path.read_bytes().ljust(size, b"\0") for path in (file, other)]
    for path, bytes_ in zip((file, other), content, strict=True):
        path.write_bytes(bytes_)
        os.utime(path, (1e9, 1e9))
    first = loaded(pets)
    file.write_bytes(content[1])
    os.utime(file, (1e9, 1e9))
    assert loaded(pets).manifest["version"] != first.manifest["version"]


def test_no_space_for_the_pixels_is_said_before_decoding(pets, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000))
    monkeypatch.setattr(decoding, "write", None)
    text = refused(pets, size=1024)
    assert "50 images of 1024 pixels take 0.2 GB" in text


def test_in_small_pieces_all_is_the_same(pets, monkeypatch, tmp_path):
    whole = loaded(pets)
    monkeypatch.setattr(decoding, "AHEAD", 0)
    monkeypatch.setattr(decoding, "FEWEST", 7)
    monkeypatch.setattr(spec, "BATCH", 4_000)
    monkeypatch.setenv("DATA_CACHE", str(tmp_path / "another"))
    pieces = loaded(pets)
    assert pieces.manifest | {"ingested": ""} == whole.manifest | {"ingested": ""}
    assert pieces.spec == whole.spec
    assert np.array_equal(images(pieces.train), images(whole.train))


def test_only_a_piece_of_the_pixels_is_in_memory(tmp_path):
    path, count = tmp_path / "x.npy", 1_000
    with store.growing(path, (64, 64, 3)) as add:
        for number in range(count):
            add(np.full((64, 64, 3), number % 256, np.uint8))
    mapped = spec.Mapped(np.load(path, mmap_mode="r"))
    assert len(mapped) == count

    def resident():
        """Bytes of the map that are in this process' memory."""
        lines = Path("/proc/self/smaps").read_text().split(str(path))[1].splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Rss:"))

    seen = []
    for batch in spec.batches(mapped):
        seen += batch[:, 0, 0, 0].tolist()
        assert resident() == 0
    assert seen == [number % 256 for number in range(count)]
    assert mapped.array[:].max() == 255
    assert resident() > 10 * 2**20


def test_report_asks_for_some_of_the_test_set_at_a_time(monkeypatch):
    splits = make_splits(count=200, shape=(8, 8, 1))
    task = tasks.bind(Recipe(DataConfig("squares"), MultilayerPerceptron()), splits)
    asked = []

    def predict(given):
        asked.append(len(given))
        return np.eye(4, dtype=np.float32)[given[:, :4, :4].mean((1, 2, 3)).astype(int) % 4]

    model = SimpleNamespace(predict=predict)
    whole = task.report(model, averaged=False)
    monkeypatch.setattr(autoencoding, "BATCH", 15)
    pieces = task.report(model, averaged=True)
    assert asked[0] == 40
    assert max(asked[1:]) == 15
    assert whole.predictions.equals(pieces.predictions.drop(columns="averaged"))
    averaged = np.stack(pieces.predictions["averaged"]).argmax(axis=1)
    assert pieces.metrics["tta_accuracy"] == (averaged == splits.test.labels).mean()


def test_sizes_that_were_found_are_told(tmp_path):
    path = fill(tmp_path / "pets", {"cat": 3, "dog": 2})
    noise(50, 10).save(path / "dog" / "tall.png")
    noise(5, 5, 1).save(path / "dog" / "small.png")
    (path / "dog" / "text.png").write_text("no image")
    facts = data.ingest("folder", path)["facts"]
    assert facts["sizes, width x height"] == "5 x 5 to 30 x 20, median 30 x 20"
    assert facts["modes"] == "RGB 6, L 1"


def test_sizes_are_kept_apart(pets):
    assert loaded(pets, size=8).spec.shape == (8, 8, 3)
    assert loaded(pets, size=16).spec.shape == (16, 16, 3)


def test_ingest_takes_the_default_size(pets, run_stage):
    status, out, err = run_stage(ingest, "folder", "--from", pets)
    assert (status, err) == (0, "")
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines()]
    rows = dict(row for row in cells if len(row) == 2)
    assert (rows["cat"], rows["dog"], rows["side in pixels"]) == ("20", "30", "64")


def test_contact_sheet_shows_the_first_classes(tmp_path, run_stage):
    path = fill(tmp_path / "pets", {f"class{number:02}": 2 for number in range(25)})
    status, out, err = run_stage(ingest, "folder", "--from", path, "--size", 8, "--resize", "pad")
    assert (status, err) == (0, "")
    place = next((tmp_path / "cache").glob("folder-pets-*-8-pad/local"))
    assert f"contact sheet (the first 20 of 25 classes): {place / 'contact.png'}" in out
    sheet = np.asarray(Image.open(place / "contact.png").convert("RGB"))
    assert sheet.std() > 20


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


@pytest.mark.parametrize("size", [-1, 3, 1025])
def test_size_that_makes_no_sense_is_refused(pets, size):
    assert refused(pets, size=size).startswith("--data.size")


def test_too_few_images_for_three_parts_are_refused(tmp_path):
    assert "can't be cut" in refused(fill(tmp_path / "pets", {"cat": 2, "dog": 2}))
