import itertools

import numpy as np
import pytest

import data
from data import DataConfig, table
from data.errors import BadInput
from data.text import plain

WORDS = ["".join(letters) for letters in itertools.islice(itertools.product("abcdef", repeat=3), 90)]


def rows(separator=",", count=30):
    lines = [f"{word}{separator}{label}\n" for word, label in zip(WORDS, itertools.cycle(["red", "green", "blue"]))]
    return "".join(lines[: 3 * count])


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def loaded(path, **options):
    return data.load(DataConfig("csv", path=str(path), **options))


def pairs(splits):
    texts = np.concatenate([part.inputs for part in (splits.train, splits.val, splits.test)])
    labels = np.concatenate([part.labels for part in (splits.train, splits.val, splits.test)])
    return set(zip(texts.tolist(), np.array(splits.spec.classes)[labels].tolist(), strict=True))


def refused(path):
    with pytest.raises(BadInput) as caught:
        loaded(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


EXPECTED = set(zip(WORDS, itertools.cycle(["red", "green", "blue"])))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header", ["", "text{}label\n", "word{}colour\n", "\ufeffTEXT{} Label \n", "\r\n" * 120 + "text{}label\n", "\n\n"]
)
def test_separator_and_header_are_recognized(tmp_path, separator, header):
    splits = loaded(write(tmp_path / "colours.csv", header.format(separator) + rows(separator)))
    assert pairs(splits) == EXPECTED
    assert splits.spec.classes == ("blue", "green", "red")
    assert splits.name == "csv-colours"


def test_columns_called_text_and_label_are_found_among_others(tmp_path):
    lines = "".join(f"{number},{label},x,{word}\n" for number, (word, label) in enumerate(sorted(EXPECTED)))
    assert pairs(loaded(write(tmp_path / "colours.csv", "id,label,note,text\n" + lines))) == EXPECTED


def test_quoted_fields_hold_separators_quotes_and_line_ends(tmp_path):
    content = rows() + '"Hello, ""world"";\nand all",red\r\n'
    assert ('Hello, "world"; and all', "red") in pairs(loaded(write(tmp_path / "colours.csv", content)))


def test_separator_inside_of_texts_is_not_taken_for_the_one_between_fields(tmp_path):
    content = "".join(f"{word}, {word};{label}\n" for word, label in sorted(EXPECTED))
    assert ("aaa, aaa", "red") in pairs(loaded(write(tmp_path / "colours.csv", content)))


def test_empty_lines_and_repeated_ones_are_counted(tmp_path):
    path = write(tmp_path / "colours.csv", rows() + "\n,\naaa,red\naaa,green\n" + ",red\n")
    facts = data.ingest("csv", path)["facts"]
    assert (facts["lines"], facts["empty lines"], facts["repeated lines"]) == (95, 3, 1)
    assert facts["texts of several classes"] == 1
    assert facts["highest possible accuracy"] == pytest.approx(90 / 91)


def test_texts_that_differ_in_case_or_marks_stay_together(tmp_path):
    forms = [form for word in WORDS for form in (word, word.upper(), word[:2] + word[2] + "\u0301")]
    content = "".join(f"{form},{len(form) % 2}{forms.index(form) // 3 % 2}\n" for form in forms)
    splits = loaded(write(tmp_path / "forms.csv", content))
    parts = [set(map(plain, part.inputs.tolist())) for part in (splits.train, splits.val, splits.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 90
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 270


def test_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path, monkeypatch):
    path = write(tmp_path / "colours.csv", rows())
    first = loaded(path)
    write(path, rows().replace("aaa", "zzz"))
    second = loaded(path)
    assert ("zzz", "red") in pairs(second)
    assert first.manifest["version"] != second.manifest["version"]
    monkeypatch.setattr(table, "_records", None)
    assert loaded(path).manifest == second.manifest


def test_files_of_one_name_do_not_replace_each_other(tmp_path):
    paths = [tmp_path / place / "colours.csv" for place in ("a", "b")]
    for path, word in zip(paths, ("xxx", "yyy"), strict=True):
        path.parent.mkdir()
        write(path, rows().replace("aaa", word))
    first, second = map(loaded, paths)
    assert first.name == second.name == "csv-colours"
    assert len(list((tmp_path / "cache").glob("csv-colours-*/local/manifest.json"))) == 2
    assert ("xxx", "red") in pairs(loaded(paths[0]))


def test_name_holds_what_fits_an_experiment(tmp_path):
    assert loaded(write(tmp_path / "my data (1).csv", rows())).name == "csv-my-data-1-"


BAD = {
    "empty": ("\ufeff", "is empty"),
    "blank": ("\n\n", "is empty"),
    "one column": ("aaa\nbbb\nccc\n", "two columns"),
    "label missing": (rows() + "zzz,\n", "line 91: holds a text without label"),
    "field missing": (rows() + "zzz\n", "line 91: holds a text without label"),
    "one class": ("".join(f"{word},red\n" for word in WORDS), "has 1 class"),
    "few of a class": (rows() + "".join(f"zz{i},pink\n" for i in range(4)), "class pink has 4 different texts"),
    "latin1": (rows().encode() + "é,red\n".encode("latin1"), "line 91: is not UTF-8"),
    "nul": (rows() + "a\0b,red\n", "line 91: holds the control character 0"),
    "long": (rows() + "x" * 2_001 + ",red\n", "line 91: holds a text of 2001 characters"),
    "open quote": (rows() + '"zzz,red\n' + rows(), "is no CSV file"),
    "huge field": (rows() + '"' + "x" * 200_000 + '",red\n', "is no CSV file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_file_is_refused_by_one_line(tmp_path, kind):
    content, text = BAD[kind]
    assert text in refused(write(tmp_path / "bad.csv", content))


def test_no_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "nowhere.csv")
    refused(tmp_path)


@pytest.mark.parametrize("source", ["official", "embedded"])
def test_file_has_no_other_source(tmp_path, source):
    path = write(tmp_path / "colours.csv", rows())
    with pytest.raises(BadInput, match=source):
        loaded(path, source=source)


def test_ingest_prints_the_counts(tmp_path, run_stage):
    from pipelines import ingest

    status, out, err = run_stage(ingest, "csv", "--from", write(tmp_path / "colours.csv", rows()))
    assert (status, err) == (0, "")
    assert "csv-colours" in out
    assert "highest possible accuracy" in out


def test_ingest_without_a_path_is_refused(run_stage):
    from pipelines import ingest

    status, out, err = run_stage(ingest, "csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "FROM=" in err


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_split_cuts_a_fifth_of_each_class_and_validation_a_tenth_of_the_rest(tmp_path, seed):
    counts = {"blue": 400, "green": 50, "red": 10}
    lines = [f"{label}{number},{label}\n" for label, count in counts.items() for number in range(count)]
    splits = loaded(write(tmp_path / "colours.csv", "".join(lines)), split=seed)
    assert np.bincount(splits.test.labels).tolist() == [80, 10, 2]
    assert np.bincount(splits.val.labels).tolist() == [32, 4, 1]
    assert np.bincount(splits.train.labels).tolist() == [288, 36, 7]


def test_checksums_tell_splits_apart(tmp_path):
    path = write(tmp_path / "colours.csv", rows())
    first, second = (loaded(path, split=seed) for seed in (0, 1))
    for key in ("sha256", "test_sha256"):
        assert first.manifest[key] != second.manifest[key]
