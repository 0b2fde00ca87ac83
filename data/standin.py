"""`cifar10-standin`: ten kinds of object on 32x32 colour images, drawn by this code from a seed.

The embedded fallback for CIFAR-10: same shapes, types and number of classes, no download. Shape is the
only cue to the class; position, size, tilt, proportions, colour, texture, lighting, noise, clutter and
occlusion vary. Mirror images keep their class.

Test accuracy, trained on 14,400 of the 16,000 training images:
    linear softmax, 15 to 20 epochs (cifar-linear)          33.3 to 36.3 % (4 training seeds)
    LeNet-5, 15 epochs without augmentation                 76.1 and 76.3 % (2 training seeds)
    LeNet-5, 20 epochs with flips and shifts (cifar-lenet)  83.1 % (1 training seed)
    the default recipe (cifar)                              98.2 % (1 training seed)
Drawing all 20,000 images takes 4.3 to 4.7 s on one core.

The same seed and counts give the same bytes: drawing uses only PCG64 and operations that IEEE 754 rounds
exactly (no trigonometry, no reductions). For `draw(0)` the sha256 of the arrays is recorded as
x_train a0182ddc87aca5f9a0689550bff181480e398192287b5b8ef4d507f460e9ad4e and
x_test  55c273c57911fffb1844ddccff9aa73bb4410474b153b1a333a03acaf28023c2; its 20,000 images are distinct.
"""

from collections.abc import Callable

import numpy as np

SIZE = 32
BATCH = 250  # images rendered at once: keeps every temporary array near the size of a CPU cache

Array = np.ndarray


def _uniform(rng: np.random.Generator, n: int, low: float = 0.0, high: float = 1.0) -> Array:
    """Return one number per image, shaped to broadcast over its pixels."""
    return low + (high - low) * rng.random((n, 1, 1), dtype=np.float32)


def _chance(rng: np.random.Generator, n: int, probability: float) -> Array:
    """Return a boolean per image, shaped to broadcast over its pixels."""
    return rng.random((n, 1, 1), dtype=np.float32) < probability


def _direction(rng: np.random.Generator, n: int, limit: float = 1.0) -> tuple[Array, Array]:
    """Return cosine and sine of a random angle within 2 arctan(`limit`), by default within 90 degrees.

    The rational parametrisation needs no trigonometric function, whose last bit differs among machines.
    """
    t = _uniform(rng, n, -limit, limit)
    return (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)


def _sign(rng: np.random.Generator, n: int) -> Array:
    return np.where(_chance(rng, n, 0.5), np.float32(1), np.float32(-1))


def _colour(rng: np.random.Generator, n: int) -> Array:
    return 256 * rng.random((n, 1, 1, 3), dtype=np.float32)


def _pixels() -> tuple[Array, Array]:
    """Return x (to the right) and y (up) of the pixel centres, measured from the centre of the image."""
    axis = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
    return axis[None, None, :], -axis[None, :, None]


# --- Objects: implicit functions, negative inside, roughly a distance; each object fills the unit disc. ---
# `a` and `b` in [0, 1] vary the proportions from image to image.


def _disc(x: Array, y: Array, cx: float | Array, cy: float | Array, r: float | Array) -> Array:
    return np.sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy)) - r


def _box(x: Array, y: Array, cy: float | Array, half_w: float | Array, half_h: float | Array) -> Array:
    return np.maximum(np.abs(x) - half_w, np.abs(y - cy) - half_h)


def _wedge(x: Array, y: Array, top: float | Array, base: float | Array, half_w: float | Array) -> Array:
    """Return an isosceles triangle pointing up, from `base` to its apex at `top`."""
    height = top - base
    side = (np.abs(x) * height - (top - y) * half_w) / np.sqrt(height * height + half_w * half_w)
    return np.maximum(side, base - y)


def _fold5(x: Array, y: Array) -> tuple[Array, Array]:
    """Mirror the plane into one tenth of it, so that one point or petal becomes five."""
    kx, ky = 0.80901699, 0.58778525  # cos 36 deg, sin 36 deg
    x = np.abs(x)
    shift = 2 * np.maximum(kx * x - ky * y, 0)
    x, y = x - shift * kx, y + shift * ky
    shift = 2 * np.maximum(-kx * x - ky * y, 0)
    return np.abs(x + shift * kx), y + shift * ky


def _ring(x: Array, y: Array, a: Array, b: Array) -> Array:
    width = 0.15 + 0.12 * a
    return np.abs(_disc(x, y, 0, 0, 0.95 - width)) - width


def _crescent(x: Array, y: Array, a: Array, b: Array) -> Array:
    return np.maximum(_disc(x, y, 0, 0, 0.95), -_disc(x, y, 0.36 + 0.14 * a, 0, 0.64 + 0.08 * b))


def _star(x: Array, y: Array, a: Array, b: Array) -> Array:
    x, y = _fold5(x, y)
    inner = 0.42 + 0.12 * a
    ix, iy = 0.58778525 * inner, 0.80901699 * inner - 1
    return (x * -iy + (y - 1) * ix) / np.sqrt(ix * ix + iy * iy)


def _flower(x: Array, y: Array, a: Array, b: Array) -> Array:
    fx, fy = _fold5(x, y)
    petals = _disc(fx, fy, 0, 0.6, 0.33 + 0.07 * a)
    return np.maximum(np.minimum(petals, _disc(x, y, 0, 0, 0.45)), -_disc(x, y, 0, 0, 0.1 + 0.12 * b))


def _cross(x: Array, y: Array, a: Array, b: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    return _box(np.maximum(x, y), np.minimum(x, y), 0, 0.95, 0.18 + 0.16 * a)


def _heart(x: Array, y: Array, a: Array, b: Array) -> Array:
    k = 0.78
    x, y = np.abs(x), (y + 0.12) * (0.9 + 0.2 * a)
    return np.minimum((x + np.abs(y) - k) * 0.70710678, _disc(x, y, k / 2, k / 2, k * 0.70710678))


def _arrow(x: Array, y: Array, a: Array, b: Array) -> Array:
    head = _wedge(x, y, 1.0, 0.1 * b, 0.6 + 0.2 * a)
    return np.minimum(head, _box(x, y, -0.4, 0.16 + 0.14 * b, 0.55))


def _house(x: Array, y: Array, a: Array, b: Array) -> Array:
    roof = _wedge(x, y, 0.95, 0.1, 0.8 + 0.15 * a)
    walls = _box(x, y, -0.3, 0.66, 0.65)
    door = _box(x, y, -0.6, 0.14 + 0.08 * b, 0.36)
    return np.minimum(roof, np.maximum(walls, -door))


def _mushroom(x: Array, y: Array, a: Array, b: Array) -> Array:
    cap = np.maximum(_disc(x, y, 0, 0, 0.9), 0.05 - 0.2 * a - y)
    return np.minimum(cap, _box(x, y, -0.45, 0.18 + 0.15 * b, 0.5))


def _fish(x: Array, y: Array, a: Array, b: Array) -> Array:
    half_h = 0.4 + 0.14 * a
    body = half_h * (_disc(x * 0.66, y * (0.44 / half_h), 0.18, 0, 0.44) / 0.44)
    tail = _wedge(y, x, -0.05, -0.95, 0.5 + 0.15 * b)
    return np.minimum(body, tail)


OBJECTS: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "ring": _ring,
    "crescent": _crescent,
    "star": _star,
    "flower": _flower,
    "cross": _cross,
    "heart": _heart,
    "arrow": _arrow,
    "house": _house,
    "mushroom": _mushroom,
    "fish": _fish,
}
CLASSES: tuple[str, ...] = tuple(OBJECTS)


# --- Textures and clutter ---


def _smooth(rng: np.random.Generator, n: int, cells: int) -> Array:
    """Return value noise in [-1, 1]: a random lattice, interpolated bilinearly."""
    lattice = 2 * rng.random((n, cells + 1, cells + 1), dtype=np.float32) - 1
    position = (np.arange(SIZE, dtype=np.float32) + 0.5) * (cells / SIZE)
    low = position.astype(np.int64)
    part = position - low.astype(np.float32)
    rows = lattice[:, low] + (lattice[:, low + 1] - lattice[:, low]) * part[:, None]
    return rows[:, :, low] + (rows[:, :, low + 1] - rows[:, :, low]) * part


def _stripes(rng: np.random.Generator, n: int) -> Array:
    """Return a triangle wave in [-1, 1] with random direction, period and phase."""
    (x, y), (cos, sin) = _pixels(), _direction(rng, n)
    phase = (x * cos + y * sin) / _uniform(rng, n, 3.0, 14.0) + _uniform(rng, n)
    return 4 * np.abs(phase - np.floor(phase) - 0.5) - 1


def _surface(rng: np.random.Generator, n: int, colour: Array, strength: float) -> Array:
    """Paint a whole image with one colour, modulated by a gradient, blotches and stripes."""
    texture = _uniform(rng, n) * _smooth(rng, n, 1) + _uniform(rng, n) * _smooth(rng, n, 6)
    texture += _uniform(rng, n) * _stripes(rng, n)
    tint = strength * (0.3 + rng.random((n, 1, 1, 3), dtype=np.float32))
    return colour + texture[..., None] * tint


def _fragment(rng: np.random.Generator, n: int, present: float, low: float, high: float) -> Array:
    """Return the coverage of one bar or disc per image, at any place; absent from some of the images."""
    (x, y), (cos, sin) = _pixels(), _direction(rng, n)
    x, y = x - _uniform(rng, n, -15, 15), y - _uniform(rng, n, -15, 15)
    along, across = np.abs(x * cos + y * sin), np.abs(y * cos - x * sin)
    radius = _uniform(rng, n, low, high)
    bar = np.maximum(along - 2.5 * radius, across - 0.6 * radius)
    disc = np.sqrt(x * x + y * y) - radius
    distance = np.where(_chance(rng, n, 0.5), bar, disc)
    return np.clip(0.5 - distance, 0, 1) * _chance(rng, n, present)


def _object(rng: np.random.Generator, n: int, name: str) -> Array:
    """Return the coverage of the object under a random similarity, shear and smooth warp."""
    (x, y), (cos, sin) = _pixels(), _direction(rng, n, 0.3)
    # The limit keeps objects within 34 degrees of upright, as people expect houses and mushrooms.
    size = _uniform(rng, n, 7.5, 13.5)
    reach = 0.55 * (16 - size)  # small objects wander further
    warp = 0.16 * size
    x = x - reach * _uniform(rng, n, -1, 1) + warp * _smooth(rng, n, 3)
    y = y - reach * _uniform(rng, n, -1, 1) + warp * _smooth(rng, n, 3)
    u, v = (x * cos + y * sin) / size, (y * cos - x * sin) / size
    u = u * _sign(rng, n) * _uniform(rng, n, 1.0, 1.3) + v * _uniform(rng, n, -0.25, 0.25)
    distance = OBJECTS[name](u, v, _uniform(rng, n), _uniform(rng, n)) * size
    line = _uniform(rng, n, 0.8, 1.2)
    outline = np.abs(distance + line) - line
    distance = np.where(_chance(rng, n, 0.12), outline, distance)
    blur = _uniform(rng, n, 1.0, 2.5)
    return np.clip(0.5 - distance / blur, 0, 1)


def _batch(rng: np.random.Generator, n: int, name: str) -> Array:
    """Render `n` images of one kind: background, fragments, object, occluders, lighting, noise."""
    background = 0.55 * _colour(rng, n)
    colour = background + 30 + 85 * rng.random((n, 1, 1, 3), dtype=np.float32)
    # Mostly bright on dark, the only cue a linear model can use; hues are drawn alike for every class.
    negative = _chance(rng, n, 0.1)[..., None]
    background, colour = (np.where(negative, 256 - c, c) for c in (background, colour))
    image = _surface(rng, n, background, 35)
    for _ in range(3):
        paint = np.where(_chance(rng, n, 0.5)[..., None], colour, _colour(rng, n))
        image += _fragment(rng, n, 0.5, 1.0, 3.0)[..., None] * (paint - image)
    image += _object(rng, n, name)[..., None] * (_surface(rng, n, colour, 30) - image)
    for _ in range(2):
        paint = np.where(_chance(rng, n, 0.5)[..., None], background, _colour(rng, n))
        image += _fragment(rng, n, 0.5, 1.0, 3.0)[..., None] * (paint - image)
    light = 0.85 + 0.3 * rng.random((n, 1, 1, 3), dtype=np.float32)
    image *= light * (1 + 0.35 * _smooth(rng, n, 1)[..., None])
    grain = rng.integers(0, 256, (2, *image.shape), dtype=np.uint8).astype(np.float32)
    image += (grain[0] - grain[1]) * _uniform(rng, n, 0.02, 0.25)[..., None]
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)


def _split(stream: np.random.SeedSequence, count: int) -> tuple[Array, Array]:
    """Draw one part of the data set: equally many of each class (as far as `count` allows), shuffled."""
    rng = np.random.Generator(np.random.PCG64(stream))
    labels = np.sort(np.arange(count) % len(CLASSES)).astype(np.uint8)
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for label, name in enumerate(CLASSES):
        start, stop = np.searchsorted(labels, [label, label + 1])
        for first in range(start, stop, BATCH):
            last = min(first + BATCH, stop)
            images[first:last] = _batch(rng, last - first, name)
    order = rng.permutation(count)
    return images[order], labels[order]


def draw(seed: int = 0, train: int = 16_000, test: int = 4_000) -> dict[str, Array]:
    """Return `x_train`, `y_train`, `x_test`, `y_test`; the same arguments give the same bytes."""
    train_stream, test_stream = np.random.SeedSequence(seed).spawn(2)
    x_train, y_train = _split(train_stream, train)
    x_test, y_test = _split(test_stream, test)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
