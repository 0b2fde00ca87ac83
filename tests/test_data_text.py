import unicodedata

import numpy as np
import pytest

import data
from data import DataConfig
from data.errors import BadInput
from data.spec import Spec
from data.text import ceiling, encode, fold, lengths, vocabulary

NAMES = ("Dvořák", "Müller", "Łukasz", "O'Brien", "Nguyễn")


def make_spec(texts=NAMES, folded=False, longest=8):
    return Spec("text", ("a", "b"), vocabulary=vocabulary(texts, folded), fold=folded, longest=longest)


def spelled(ids, spec):
    """What ids stand for, with the names of padding and unknown characters."""
    return "".join({0: ".", 1: "?"}.get(i) or spec.vocabulary[i - 2] for i in ids)


def test_ids_spell_the_text():
    spec = make_spec()
    assert [spelled(row, spec) for row in encode(NAMES, spec)] == [
        "Dvořák.",
        "Müller.",
        "Łukasz.",
        "O'Brien",
        "Nguyễn.",
    ]
    assert encode(NAMES, spec).dtype == np.int32


def test_ids_are_those_of_the_specification_whatever_the_order_of_the_vocabulary():
    spec = Spec("text", (), vocabulary=("z", "a", "ř"), longest=4)
    assert encode(["řaz", "zab"], spec).tolist() == [[4, 3, 2], [2, 3, 1]]


@pytest.mark.parametrize("folded", [False, True])
def test_composed_and_decomposed_characters_give_the_same_ids(folded):
    decomposed = [unicodedata.normalize("NFD", name) for name in NAMES]
    spec = make_spec(folded=folded)
    assert decomposed[0] != NAMES[0]
    assert np.array_equal(encode(decomposed, spec), encode(NAMES, spec))
    assert vocabulary(decomposed, folded) == spec.vocabulary
    assert lengths(decomposed, spec).tolist() == lengths(NAMES, spec).tolist()


def test_folding_takes_marks_off_and_nothing_else():
    assert [fold(name) for name in NAMES] == ["Dvorak", "Muller", "Lukasz", "O'Brien", "Nguyen"]
    assert fold("Groß Þór Əliyev Yıldız Ødegård Čech ǿ") == "Gross Thor Aliyev Yildiz Odegard Cech o"
    assert fold("김 Αθήνα") == "김 Αθηνα"


def test_folded_texts_share_ids_with_plain_ones():
    spec = make_spec(folded=True)
    assert np.array_equal(encode(["Dvořák", "Müller"], spec), encode(["Dvorak", "Muller"], spec))
    assert all(character.isascii() for character in spec.vocabulary)


def test_marks_are_kept_without_folding():
    spec = make_spec()
    assert not np.array_equal(encode(["Dvořák"], spec), encode(["Dvorak"], spec))


def test_characters_that_no_training_text_has_are_one_id():
    spec = make_spec()
    assert spelled(encode(["Œxř日"], spec)[0], spec) == "??ř?"
    assert 1 not in encode(NAMES, spec)


@pytest.mark.parametrize(("size", "length"), [(0, 1), (1, 1), (4, 4), (5, 5), (10, 10), (13, 10), (99, 10)])
@pytest.mark.parametrize("multiple", [1, 4])
def test_texts_are_padded_at_the_end_and_cut_at_the_longest(size, length, multiple):
    spec = make_spec(["ab"], longest=10)
    ids = encode(["b", "a" * size], spec, multiple)
    assert ids.shape == (2, -(-length // multiple) * multiple)
    assert spelled(ids[0], spec).rstrip(".") == "b"
    assert spelled(ids[1], spec).rstrip(".") == "a" * min(size, 10)
    assert lengths(["b", "a" * size], spec).tolist() == [1, min(size, 10)]
    assert (ids != 0).sum(axis=1).tolist() == lengths(["b", "a" * size], spec).tolist()


def test_white_space_around_and_inside_is_made_one_space():
    spec = make_spec(["ab c"])
    assert np.array_equal(encode(["  ab \t c\n", "ab\xa0c"], spec), encode(["ab c"] * 2, spec))


def test_no_texts_are_no_rows():
    assert encode([], make_spec()).shape == (0, 1)


def test_arrays_of_texts_are_taken_like_lists():
    spec = make_spec()
    assert np.array_equal(encode(np.array(NAMES), spec), encode(list(NAMES), spec))


def test_ceiling_is_what_the_best_answers_reach():
    assert ceiling(["a", "b", "c"], [0, 1, 0]) == 1
    assert ceiling(["a", "a", "a", "b"], [0, 1, 2, 2]) == 0.5
    assert ceiling(["a", "a", "a", "b"], [1, 1, 2, 2]) == 0.75


def test_specification_is_of_the_training_texts_alone():
    splits = data.load(DataConfig("surnames", limit=500))
    train = splits.train.inputs.tolist()
    assert splits.spec.kind == "text"
    assert splits.spec.vocabulary == tuple(sorted(set("".join(train))))
    assert splits.spec.longest == max(map(len, train))
    assert (encode(splits.train.inputs, splits.spec) != 1).all()
    assert (encode(splits.test.inputs, splits.spec) == 1).any()


def test_folding_changes_the_vocabulary_and_no_part():
    kept, folded = (data.load(DataConfig("surnames", fold=choice)) for choice in (False, True))
    assert len(folded.spec.vocabulary) < 70
    assert len(kept.spec.vocabulary) > 110
    for part in ("train", "val", "test"):
        assert np.array_equal(getattr(kept, part).inputs, getattr(folded, part).inputs)
    assert "ř" in kept.spec.vocabulary


@pytest.mark.parametrize(
    ("config", "flag"),
    [
        (DataConfig("digits", split=1), "--data.split"),
        (DataConfig("digits", path="x"), "--data.path"),
        (DataConfig("digits", fold=True), "--data.fold"),
        (DataConfig("digits", size=32), "--data.size"),
        (DataConfig("names", path="x"), "--data.path"),
        (DataConfig("surnames", size=32), "--data.size"),
        (DataConfig("folder", path=".", fold=True), "--data.fold"),
        (DataConfig("csv"), "--data.path"),
        (DataConfig("folder"), "--data.path"),
    ],
)
def test_what_a_dataset_has_no_use_for_is_refused(config, flag):
    with pytest.raises(BadInput) as caught:
        data.load(config)
    assert str(caught.value).startswith(flag)
    assert "\n" not in str(caught.value)
