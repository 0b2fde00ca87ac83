"""Asking a recorded model about files, folders, patterns and lists of them."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import data
from data.spec import DataConfig
from pipelines import predict, prediction
from pipelines.tracking import recorded


@pytest.fixture
def images(tmp_path):
    """A folder with the first seven test images of digits, two of them in a folder below."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for row, image in enumerate(data.load(DataConfig("digits")).test.inputs[np.arange(7)]):
        Image.fromarray(image[:, :, 0]).save(folder / ("more" if row > 4 else ".") / f"{row}.png")
    (folder / "readme.md").write_text("no image")
    return folder


def expected(run):
    return np.stack(recorded.table(recorded.find(run.info.run_id), "predictions")["probabilities"])


def test_a_folder_is_answered_as_recorded_whatever_the_table(trained, images, tmp_path, run_stage, monkeypatch):
    run, _ = trained
    monkeypatch.setattr(prediction, "AT_ONCE", 3)
    monkeypatch.setattr(predict, "SHOWN", 4)
    tables = {ending: tmp_path / f"answers.{ending}" for ending in ("csv", "parquet", "json")}
    for place in tables.values():
        status, out, err = run_stage(predict, "last", images, "--out", place)
        assert (status, err) == (0, "")
        assert "and 3 more" in out
        assert "4.png" not in out
    frame, probabilities = pd.read_csv(tables["csv"]), [f"p_{digit}" for digit in range(10)]
    assert list(frame.columns) == ["input", "predicted", "probability", *probabilities]
    assert [place.rsplit("/")[-1] for place in frame["input"]] == [f"{row}.png" for row in range(7)]
    np.testing.assert_allclose(frame[probabilities], expected(run)[:7], atol=1e-5)
    np.testing.assert_array_equal(frame["predicted"], expected(run)[:7].argmax(axis=1))
    np.testing.assert_allclose(frame["probability"], expected(run)[:7].max(axis=1), atol=1e-5)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tables["parquet"]).astype({"predicted": "int64"}), frame, rtol=1e-5, check_dtype=False
    )
    records = json.loads(tables["json"].read_text())
    assert [record["input"] for record in records] == [*frame["input"]]
    assert set(records[6]["probabilities"]) == {str(digit) for digit in range(10)}
    assert records[6]["probabilities"]["3"] == pytest.approx(frame["p_3"][6], abs=1e-6)


def test_patterns_lists_and_commas_name_images(images):
    (images / "list.txt").write_text(f"{images}/0.png\n\n{images}/6.png\n")
    (images / "0-reconstructed.png").write_bytes(b"")
    named = {
        f"{images}/**/*.png": ["0-reconstructed", 0, 1, 2, 3, 4, 5, 6],
        f"{images}/[12].png, {images}/more": [1, 2, 5, 6],
        f"{images}/list.txt": [0, 6],
        f"{images}/3.png": [3],
        str(images): [0, 1, 2, 3, 4, 5, 6],
    }
    for given, names in named.items():
        found = [path.rsplit("/")[-1] for path in prediction.gather(given, "images")]
        assert found == [f"{name}.png" for name in names], given
    (images / "a,b.png").write_bytes((images / "1.png").read_bytes())
    assert prediction.gather(f"{images}/a,b.png", "images") == [f"{images}/a,b.png"]
    assert prediction.gather("O'Brien, Silva,", "text") == ["O'Brien", "Silva"]


def test_what_is_no_image_is_left_out_and_named(trained, images, run_stage, monkeypatch):
    monkeypatch.setattr(predict, "NAMED", 2)
    for name in "abc":
        (images / f"{name}.png").write_text("no image")
    status, out, err = run_stage(predict, "last", images)
    assert status == 0
    assert out.count("%") == 7 * predict.LIKELIEST
    assert [line.split(":")[1].rsplit("/")[-1] for line in err.splitlines()[:2]] == ["a.png", "b.png"]
    assert err.splitlines()[2:] == ["left out: 1 more"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{images}/readme.md"], "is no image"),
        (["{images}/none.png,{images}/readme.md"], "none of 2 inputs can be read"),
        (["{images}/*.jpg"], "there is no image"),
        (["{images}", "--out", "answers.xls"], "is no kind of table"),
        (["{images}", "--out", "{images}/none/answers.csv"], "its folder is not there"),
    ],
)
def test_bad_input_is_one_line(trained, images, run_stage, arguments, words):
    status, _, err = run_stage(predict, "last", *(argument.format(images=images) for argument in arguments))
    assert status == 2
    assert words in err
    assert err.count("\n") == 1
