import numpy as np
import pytest
from PIL import Image

from pipelines.augmentation import Augmentation, Moment, resized

EVERYTHING = Augmentation(
    flip="random",
    crop=2,
    translation=1,
    rotation=10,
    zoom=0.1,
    elastic=20,
    cutout=6,
    brightness=0.2,
    contrast=0.2,
    color=0.2,
    mixup=0.4,
    cutmix=1.0,
)
EACH = [
    Augmentation(flip="random"),
    Augmentation(crop=4),
    Augmentation(translation=3),
    Augmentation(rotation=15),
    Augmentation(zoom=0.2),
    Augmentation(elastic=34),
    Augmentation(cutout=8),
    Augmentation(brightness=0.3),
    Augmentation(contrast=0.3),
    Augmentation(color=0.3),
    Augmentation(mixup=0.4),
    Augmentation(cutmix=1.0),
    Augmentation(patch=24),
    EVERYTHING,
]


def batch(count=32, shape=(32, 32, 3)):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    return images, np.eye(4, dtype=np.float32)[np.arange(count) % 4]


def moment(epoch=0, position=0, seed=1, count=32):
    return Moment(seed, epoch, position, np.arange(count))


@pytest.mark.parametrize("augmentation", EACH, ids=str)
def test_each_is_a_pure_function_of_seed_epoch_and_position(augmentation):
    images, targets = batch()
    first = augmentation(images, targets, moment())
    again = augmentation(images, targets, moment())
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for other in (moment(epoch=1), moment(position=1), moment(seed=2)):
        assert not np.array_equal(first[0], augmentation(images, targets, other)[0])


@pytest.mark.parametrize("augmentation", EACH, ids=str)
def test_each_keeps_type_targets_and_its_input(augmentation):
    images, targets = batch()
    before = images.copy()
    drawn, mixed = augmentation(images, targets, moment())
    assert drawn.dtype == np.uint8
    assert drawn.shape == (32, *augmentation.view_shape((32, 32, 3)))
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(images, before)


def test_nothing_asked_for_changes_nothing():
    images, targets = batch()
    drawn, kept = Augmentation()(images, targets, moment())
    np.testing.assert_array_equal(drawn, images)
    np.testing.assert_array_equal(kept, targets)


def test_random_flip_mirrors_about_half():
    images, targets = batch(400)
    drawn, _ = Augmentation(flip="random")(images, targets, moment(count=400))
    mirrored = [np.array_equal(one, old[:, ::-1]) for one, old in zip(drawn, images, strict=True)]
    kept = [np.array_equal(one, old) for one, old in zip(drawn, images, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 150 < sum(mirrored) < 250


def test_alternate_flip_shows_each_image_both_ways_in_two_epochs():
    images, targets = batch(100)
    first, second = (Augmentation(flip="alternate")(images, targets, moment(e, e, count=100))[0] for e in (4, 5))
    np.testing.assert_array_equal(first, second[:, :, ::-1])
    assert 20 < sum(np.array_equal(one, old) for one, old in zip(first, images, strict=True)) < 80


def test_crop_is_a_shift_of_the_reflected_image():
    images, targets = batch(50)
    drawn, _ = Augmentation(crop=2)(images, targets, moment(count=50))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
    seen = set()
    for row, one in enumerate(drawn):
        match = [(y, x) for y in range(5) for x in range(5) if np.array_equal(one, padded[row, y : y + 32, x : x + 32])]
        assert len(match) == 1
        seen |= set(match)
    assert len(seen) > 15


def test_translation_brings_in_black():
    images, targets = np.full((64, 8, 8, 1), 200, np.uint8), batch(64)[1]
    drawn, _ = Augmentation(translation=2)(images, targets, moment(count=64))
    assert set(np.unique(drawn)) == {0, 200}


def dots(count=64):
    """Images of one bright spot, 10 pixels to the right of the middle."""
    images = np.zeros((count, 33, 33, 1), np.uint8)
    images[:, 15:18, 25:28] = 255
    return images


def seen(images):
    """Distance of the spot from the middle in pixels, and its angle in degrees."""
    weights = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
    places = np.arange(33) - 16
    down, right = (weights * places[:, None]).sum(axis=(1, 2)), (weights * places).sum(axis=(1, 2))
    return np.hypot(down, right), np.rad2deg(np.arctan2(down, right))


def drawn_by(augmentation, images):
    count = len(images)
    return augmentation(images, np.ones((count, 1), np.float32), moment(count=count))[0]


def test_rotation_turns_about_the_middle_by_no_more_than_asked():
    distance, angle = seen(drawn_by(Augmentation(rotation=30), dots()))
    np.testing.assert_allclose(distance, 10, atol=0.2)
    assert 25 < np.abs(angle).max() < 30.5
    assert angle.min() < -20
    assert angle.max() > 20


def test_zoom_moves_away_from_the_middle_or_towards_it():
    distance, angle = seen(drawn_by(Augmentation(zoom=0.3), dots()))
    np.testing.assert_allclose(angle, 0, atol=1)
    assert 7 <= distance.min() < 8
    assert 12 < distance.max() <= 13.1


def test_elastic_distortion_moves_neighbours_alike():
    images = np.zeros((64, 33, 33, 1), np.uint8)
    images[:, 16] = 255  # a line
    warped = drawn_by(Augmentation(elastic=34), images)[..., 0]
    assert not np.array_equal(warped, images[..., 0])
    heights = warped.argmax(axis=1)[:, 6:-6]  # where it runs, in each column into which no black enters
    assert np.abs(np.diff(heights, axis=1)).max() <= 2
    assert heights.std(axis=1).mean() > 0.3
    assert np.unique(heights.mean(axis=1)).size > 32  # each image in its own way


def test_cutout_hides_a_square_of_its_side():
    images, targets = np.full((200, 32, 32, 1), 7, np.uint8), batch(200)[1]
    drawn, _ = Augmentation(cutout=8)(images, targets, moment(count=200))
    hidden = (drawn == 128).sum(axis=(1, 2, 3))
    assert hidden.max() == 64
    assert 16 <= hidden.min() < 64


def test_colour_changes_leave_grey_grey():
    images = np.repeat(np.random.default_rng(0).integers(80, 120, (8, 6, 6, 1)).astype(np.uint8), 3, axis=3)
    drawn, _ = Augmentation(color=0.9)(images, batch(8)[1], moment(count=8))
    np.testing.assert_array_equal(drawn, images)


def test_mixup_blends_images_as_it_blends_targets():
    images = np.repeat((np.arange(32) * 8).astype(np.uint8)[:, None, None, None], 16, axis=1)
    targets = np.eye(32, dtype=np.float32)
    drawn, mixed = Augmentation(mixup=1.0)(images, targets, moment())
    np.testing.assert_allclose(drawn[:, 0, 0, 0], mixed @ (np.arange(32) * 8), atol=0.51)
    assert ((mixed > 0).sum(axis=1) <= 2).all()


def test_cutmix_counts_the_pixels_it_pastes():
    images = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None, None], (32, 16, 16, 1)).copy()
    drawn, mixed = Augmentation(cutmix=1.0)(images, np.eye(32, dtype=np.float32), moment())
    for row in range(32):
        shares = np.bincount(drawn[row].ravel(), minlength=32) / 256
        np.testing.assert_allclose(shares, mixed[row], atol=1e-6)


def test_both_mixings_take_turns():
    images, targets = batch()
    both = Augmentation(mixup=1.0, cutmix=1.0)
    kinds = set()
    for position in range(12):
        drawn, _ = both(images, targets, moment(position=position))
        # CutMix only copies pixels: each one is found in some image of the batch at its place.
        kinds.add(all((drawn[0, y, x, 0] == images[:, y, x, 0]).any() for y in range(32) for x in range(0, 32, 4)))
    assert kinds == {True, False}


def test_alexnet_s_patches_come_from_the_image_and_the_middle_one_is_evaluated():
    images, targets = batch(20, (40, 40, 3))
    augmentation = Augmentation(patch=32)
    drawn, _ = augmentation(images, targets, moment(count=20))
    windows = np.lib.stride_tricks.sliding_window_view(images, (32, 32), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    assert all((windows[row] == one).all(axis=(2, 3, 4)).any() for row, one in enumerate(drawn))
    np.testing.assert_array_equal(augmentation.evaluation_view(images), images[:, 4:36, 4:36])


@pytest.mark.parametrize(("old", "new"), [(32, 20), (32, 26), (32, 64), (20, 16)])
def test_resizing_agrees_with_pillow(old, new):
    images, _ = batch(3, (old, old, 3))
    expected = [np.asarray(Image.fromarray(one).resize((new, new), Image.Resampling.BILINEAR), int) for one in images]
    assert np.abs(resized(images, new).astype(int) - np.stack(expected)).max() <= 1
