import itertools
import unicodedata
import zipfile

import numpy as np
import pytest

import data
from data import DataConfig, names
from data.errors import BadInput
from data.names import group

# Names of men and of women of one family, by the grammar of their language; no code of ours made them.
PAIRS = """Novák Nováková, Dvořák Dvořáková, Svoboda Svobodová, Kučera Kučerová, Novotný Novotná, Černý Černá,
Hájek Hájková, Havel Havlová, Němec Němcová, Bureš Burešová, Beneš Benešová, Janko Janková, Krejčí Krejčová,
Palacký Palacká, Makový Maková, Škultéty Škultétyová, Hus Husová, Kowalski Kowalska, Zawadzki Zawadzka, Czarny Czarna,
Sokolov Sokolova, Aliyev Aliyeva, Ağayev Ağayeva, Yeltsin Yeltsina, Dostoevsky Dostoevskaya, Tolstoy Tolstaya,
Dimitrov Dimitrova, Kazlauskas Kazlauskienė, Kazlauskas Kazlauskaitė, Butkus Butkuvienė, Butkus Butkutė,
Petraitis Petraitytė, Stankevičius Stankevičienė, Stankevičius Stankevičiūtė, Ozols Ozola, Bērziņš Bērziņa,
Lācis Lāce, Balodis Balode, Jónsson Jónsdóttir, Bjarnason Bjarnadóttir, Papadopoulos Papadopoulou,
Ioannidis Ioannidou, Pappas Pappa, Nelson Nelsonová, Yusifoğlu Yusifqızı, Dvořák Dvorak"""


@pytest.mark.parametrize("pair", [pair.split() for pair in PAIRS.split(",")], ids="-".join)
def test_the_names_of_one_family_are_one_group(pair):
    assert group(pair[0]) == group(pair[1])


@pytest.mark.parametrize("pair", [("Sokolov", "Sobolev"), ("Lee", "Li"), ("Valiev", "Valeev"), ("Sato", "Ito")])
def test_other_names_are_other_groups(pair):
    assert group(pair[0]) != group(pair[1])


def test_group_heeds_neither_case_nor_marks_nor_spaces():
    assert group("O'Brien") == group("o brien") == group("O’BRIEN")
    assert group("Müller") == group(unicodedata.normalize("NFD", "MÜLLER"))


ORIGINS = {"Czech": 40, "Greek": 30, "Irish": 20}


def lists():
    endings = [first + second for first in "abcdefgh" for second in "abcde"]
    return {
        f"{origin}.txt": "".join(f"{origin}{ending}x\n" for ending in endings[:count])
        for origin, count in ORIGINS.items()
    }


def write(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def pack(path, contents, prefix="data/names/", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(f"{prefix}{name}", content)
    return path


def refused(read, *arguments):
    with pytest.raises(BadInput) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("place", ["", "names", "data/names"])
def test_lists_are_found_in_a_folder(tmp_path, place):
    write(tmp_path / "lists" / place, lists())
    manifest = data.ingest("names", tmp_path / "lists")
    assert dict(zip(manifest["classes"], manifest["counts"]["all"], strict=True)) == ORIGINS


def test_archive_gives_the_same_as_the_folder(tmp_path):
    path = pack(tmp_path / "data.zip", lists())
    with zipfile.ZipFile(path, "a") as archive:  # as the publisher's archive, and one packed on a Mac
        archive.writestr("data/eng-fra.txt", "Go.\tVa !\n" * 100)
        archive.writestr("__MACOSX/data/names/._Czech.txt", "nonsense")
    packed = data.ingest("names", path)
    assert packed["version"] == data.ingest("names", write(tmp_path / "names", lists()))["version"]
    assert packed["version"] == data.ingest("names", pack(tmp_path / "flat.zip", lists(), ""))["version"]


@pytest.mark.parametrize("prefix", ["data/names/", "../names/", "/names/"])
def test_archive_is_not_extracted(tmp_path, prefix):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    path = pack(place / "data.zip", lists(), prefix)
    if prefix.startswith(".."):
        refused(data.ingest, "names", path)
    else:
        data.ingest("names", path)
    assert not list(tmp_path.rglob("*.txt"))
    assert {entry.name for entry in place.iterdir()} == {"data.zip"}


def test_empty_lines_repeated_lines_and_names_of_several_origins_are_counted(tmp_path):
    contents = lists()
    contents["Czech.txt"] += "\n  \r\nRossi\r\nRossi\n Rossi\xa0\nNoe\u0301\nNoé"
    contents["Greek.txt"] += "Rossi\n\n"
    contents["Irish.txt"] += "Rossi\nNoé\n"
    manifest = data.ingest("names", write(tmp_path / "names", contents))
    assert manifest["classes"] == ["Czech", "Greek", "Irish"]
    assert manifest["counts"]["all"] == [42, 31, 22]
    facts = manifest["facts"]
    assert (facts["lines"], facts["empty lines"], facts["repeated lines"]) == (90 + 7 + 2 + 2, 3, 3)
    assert facts["different texts"] == 92
    assert facts["texts of several classes"] == 2
    # Of Rossi's three pairs and Noé's two one each can be right.
    assert facts["highest possible accuracy"] == pytest.approx(92 / 95)


def test_ingest_prints_the_counts(tmp_path, run_stage):
    from pipelines import ingest

    contents = lists()
    contents["Greek.txt"] += "Czechaax\n\n"
    status, out, err = run_stage(ingest, "names", "--from", write(tmp_path / "names", contents))
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines()]
    rows = dict(row for row in cells if len(row) == 2)
    assert (status, err) == (0, "")
    assert (rows["Greek"], rows["all"], rows["lines"], rows["empty lines"]) == ("31", "91", "92", "1")
    assert (rows["texts of several classes"], rows["highest possible accuracy"]) == ("1", "98.90%")


BAD = {
    "latin1": ({"Czech.txt": "Novak\nDvořák\n".encode("latin2")}, "Czech.txt, line 2: is not UTF-8"),
    "utf16": ({"Czech.txt": "Novak\n".encode("utf-16")}, "Czech.txt, line 1: is not UTF-8"),
    "nul": ({"Czech.txt": "Novak\nDvo\0rak\n"}, "Czech.txt, line 2: holds the control character 0"),
    "long": ({"Czech.txt": "Novak\n" + "x" * 101 + "\n"}, "Czech.txt, line 2: has 101 characters"),
    "empty file": ({"Czech.txt": ""}, "Czech.txt: holds no name"),
    "blank file": ({"Czech.txt": " \n\n"}, "Czech.txt: holds no name"),
    "few": ({"Czech.txt": "Novak\nNovak\nDvorak\n"}, "class Czech has 2 different texts"),
}


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("kind", BAD)
def test_bad_list_is_refused_by_its_file_and_line(tmp_path, kind, form):
    contents, text = BAD[kind]
    contents = lists() | contents
    path = write(tmp_path / "names", contents) if form == "folder" else pack(tmp_path / "names.zip", contents)
    assert text in refused(data.ingest, "names", path)


def test_one_list_alone_is_refused(tmp_path):
    path = write(tmp_path / "names", {"Czech.txt": lists()["Czech.txt"]})
    assert "two or more" in refused(data.ingest, "names", path)


@pytest.mark.parametrize("kind", ["empty folder", "empty zip", "no zip", "cut off", "two folders", "encrypted"])
def test_what_holds_no_lists_is_refused(tmp_path, kind):
    path = tmp_path / "names.zip"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "empty zip":
        pack(path, {})
    elif kind == "no zip":
        path.write_bytes(b"Novak\n" * 100)
    elif kind == "cut off":
        pack(path, lists())
        path.write_bytes(path.read_bytes()[:-40])
    elif kind == "two folders":
        pack(path, {f"{place}/{name}": content for place in ("a", "b") for name, content in lists().items()}, "")
    else:
        pack(path, lists(), method=zipfile.ZIP_STORED)
        content = bytearray(path.read_bytes())
        for start in (content.index(b"PK\x01\x02") + 8, content.index(b"PK\x03\x04") + 6):
            content[start] |= 1
        path.write_bytes(content)
    assert str(path) in refused(data.ingest, "names", path)


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_more_text_than_any_lists_have_is_not_read(tmp_path, monkeypatch, form):
    monkeypatch.setattr(names, "SIZE", 2**20)
    contents = lists() | {"Latin.txt": "Aurelius\n" * 2**17}
    path = write(tmp_path / "names", contents) if form == "folder" else pack(tmp_path / "names.zip", contents)
    assert "bytes" in refused(data.ingest, "names", path)


def test_archive_that_lies_about_its_sizes_is_refused(tmp_path):
    path = pack(tmp_path / "names.zip", {"Czech.txt": "Novak\n" * 10_000})
    content, size = path.read_bytes(), (60_000).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (600).to_bytes(4, "little")))
    assert str(path) in refused(data.ingest, "names", path)


def test_surnames_stand_in_for_names():
    splits = data.load(DataConfig("names", source="embedded", split=1, fold=True))
    assert splits.name == "surnames"
    assert "surnames instead of names" in splits.notice
    assert (splits.spec.kind, splits.spec.fold) == ("text", True)


def families(split):
    return {group(name) for name in split.inputs.tolist()}


def feminine(name):
    """How women of a family may be called, by rules of their own: Czech, Slovak, Polish, Russian, Azerbaijani."""
    stem = name.removesuffix("a").removesuffix("o")
    forms = {f"{name}ová", f"{stem}ová", f"{name.removesuffix('ý')}á"}
    forms |= {f"{name[:-2]}{name[-1]}ová"} if name.endswith(("ek", "ec", "el")) else set()
    forms |= {f"{name}a"} if name.endswith(("ov", "ev", "in")) else set()
    return forms | ({f"{name[:-1]}a"} if name.endswith(("ski", "cki", "dzki")) else set())


@pytest.mark.parametrize(("seed", "validation"), [(0, 0.1), (1, 0.1), (12_345, 2_000)])
def test_neither_a_name_nor_its_other_form_stands_in_two_parts(seed, validation):
    splits = data.load(DataConfig("surnames", split=seed, validation=validation))
    parts = [splits.train, splits.val, splits.test]
    assert sum(map(len, parts)) == 24_365
    names = [{name.casefold() for name in split.inputs.tolist()} for split in parts]
    forms = [set().union(*map(feminine, part)) for part in names]
    for one, other in itertools.permutations(range(3), 2):
        assert not families(parts[one]) & families(parts[other])
        assert not names[one] & names[other]
        assert not forms[one] & names[other]
    assert len(set().union(*forms) & set().union(*names)) > 900


@pytest.mark.parametrize("seed", [0, 1])
def test_each_part_has_each_origin_in_about_its_proportion(seed):
    splits = data.load(DataConfig("surnames", split=seed))
    whole = sum(np.bincount(split.labels) for split in (splits.train, splits.val, splits.test))
    for split, share in ((splits.test, 0.2), (splits.val, 0.08), (splits.train, 0.72)):
        assert len(split) == pytest.approx(share * 24_365, rel=0.04)
        # Exact to one group for each origin, but groups are not all of one size.
        off = np.abs(np.bincount(split.labels) - share * whole)
        assert (off <= 3 + 3.2 * np.sqrt(share * (1 - share) * whole)).all()


def test_split_decides_on_the_test_set_and_its_checksums():
    first, again, other = (data.load(DataConfig("surnames", split=seed)) for seed in (0, 0, 1))
    for key in ("sha256", "test_sha256"):
        assert first.manifest[key] == again.manifest[key] != other.manifest[key]
    assert (first.manifest["split"], other.manifest["split"]) == (0, 1)
    assert first.manifest["counts"]["test"] == np.bincount(first.test.labels).tolist()
    assert set(first.test.inputs.tolist()) != set(other.test.inputs.tolist())
    assert np.array_equal(first.val.inputs, again.val.inputs)


def test_validation_and_limit_leave_the_test_set_and_the_checksums_alone():
    whole = data.load(DataConfig("surnames", validation=0))
    part = data.load(DataConfig("surnames", limit=5_000))
    assert len(whole.val) == 0
    assert len(part.train) == 5_000
    assert np.array_equal(whole.test.inputs, part.test.inputs)
    for key in ("sha256", "test_sha256"):
        assert whole.manifest[key] == part.manifest[key]


def test_surnames_are_as_many_as_their_description_says():
    from data import surnames

    manifest = data.ingest("surnames")
    described = " ".join(surnames.__doc__.split())
    assert f"Surnames of {len(manifest['classes'])} origins" in described
    for origin, count in zip(manifest["classes"], manifest["counts"]["all"], strict=True):
        assert f"{origin} {count:,}" in described
        assert count >= 150
    facts = manifest["facts"]
    assert f"together {facts['lines']:,}, of which {facts['texts of several classes']} names" in described


def test_surnames_are_the_same_on_every_machine():
    assert data.ingest("surnames")["version"] == "74ebc87b24e6bb94"


def test_surnames_are_in_latin_script():
    letters = {character for name, _ in data.find("surnames").draw() for character in name if character.isalpha()}
    # Faker writes the Greek letter instead of ɛ in two Ghanaian names.
    assert {letter for letter in letters if "LATIN" not in unicodedata.name(letter)} == {"ε"}
