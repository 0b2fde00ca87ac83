"""Trained networks to begin from: found, checked, and laid where :mod:`models.pretrained` looks for them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data import store
from data.errors import BadInput, disk_fault, reason
from models.pretrained import KEPT, Kept, Source, Transferred

if TYPE_CHECKING:
    import keras

    from pipelines.settings import Recipe

SILENCE = 10.0
"""Seconds after which a download of weights gives up on a network that says nothing."""

ELSE = "give another source: --source.run, --source.model or --source.file"


def provide(recipe: Recipe, trust: bool = False) -> Recipe:
    """The recipe with its source fixed: by an id in place of ``last`` or an alias, and by the checksum of its weights.

    Its network then lies in the cache. One that does already is taken from there, whatever has become of the source.

    Args:
        recipe: any.
        trust: whether the source may carry code. What lies in the cache needs that, too: its checksum, which a recorded
            recipe can name, says nothing of code.

    Raises:
        BadInput: it can't be had, is not what it was, or needs trust.
    """
    model = recipe.model
    if not isinstance(model, Transferred) or not model.source.given:
        return recipe
    source = model.source
    if len(source.given) > 1:
        raise BadInput("name several sources", " and ".join(source.given), "give one of them")
    place = _place(source.sha256)
    if not (source.sha256 and place.exists()):
        from pipelines.fitting.network import digest

        source, network = _found(source, trust)
        sha256 = digest(network)
        if source.sha256 not in ("", sha256):
            what = f"has weights of sha256 {sha256[:16]}..., not {source.sha256[:16]}..."
            raise BadInput(what, next(iter(source.given.values())), "give what it was when this recipe was recorded")
        source, place = replace(source, sha256=sha256), _place(sha256)
        _keep(network, place)
    elif not trust:
        _look_at(place)
    KEPT[source.sha256] = Kept(place, trust)
    return replace(recipe, model=replace(model, source=source))


def fitting_size(recipe: Recipe) -> Recipe:
    """The recipe with images of a folder in the size that its source takes, where it says none; provided before."""
    if recipe.data.name != "folder" or recipe.data.size:
        return recipe
    side = recipe.model.size or KEPT[recipe.model.source.sha256].opened().input_shape[1] or 0
    return replace(recipe, data=replace(recipe.data, size=side))


def tags(recipe: Recipe) -> dict[str, str]:
    """What a run records of the source that it begins from."""
    if not isinstance(recipe.model, Transferred):
        return {}
    source = recipe.model.source
    named = {flag.removeprefix("--"): value for flag, value in source.given.items()}
    named |= {"source.run": source.origin} if source.origin else {}
    return {**named, "source.sha256": source.sha256, "source.scratch": str(recipe.model.scratch).lower()}


def _place(sha256: str) -> Path:
    return store.root() / "sources" / f"{sha256}.keras"


def _keep(network: keras.Model, place: Path) -> None:
    """Write a network into the cache, whole or not at all."""
    draft = place.with_name(f"{os.getpid()}-{place.name}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        network.save(draft)
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        what = f"can't be written ({disk_fault(error) or reason(error)})"
        raise BadInput(what, place.parent, "free space or permissions, or set DATA_CACHE to another folder") from None


def _look_at(place: Path) -> None:
    """Refuse a network in the cache that carries code, or has been damaged."""
    import models
    from models import safety

    models.import_all()
    with _readable(place, "remove it"):
        safety.check(place)


@contextmanager
def _readable(path: Path, do: str) -> Iterator[None]:
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # whatever reading a damaged file, or one of unknown layers, raises
        raise BadInput(f"can't be loaded ({reason(error)})", path, do) from None


def _found(source: Source, trust: bool) -> tuple[Source, keras.Model]:
    """A source and its network, float32, raw pixels in."""
    if source.network:
        path = source.weights if source.weights == "imagenet" else str(Path(source.weights).resolve())
        return replace(source, weights=path), _application(source, trust)
    if source.file:
        return replace(source, file=str(Path(source.file).resolve())), _file(Path(source.file), trust)
    from pipelines.tracking import recorded

    run = recorded.find(source.run or source.model)
    model = run.load_model(trust)
    if model.description["input"] != "images":
        raise BadInput("is a model of texts", f"run {run.name}", "give one of images")
    return replace(source, origin=run.id, run=run.id if source.run else ""), model.network


def _file(path: Path, trust: bool) -> keras.Model:
    import keras

    from models.parts import trunks

    do = "give a .keras file of a network of images"
    with _readable(path, do):
        network = trunks.opened(path, trust)
    if not isinstance(network, keras.Model):
        raise BadInput("holds no network", path, do)
    return network


def _application(source: Source, trust: bool) -> keras.Model:
    """A network of keras.applications up to its features, with the weights that the source names."""
    from models.parts import trunks

    if source.weights != "imagenet":
        return _with_file(source.network, Path(source.weights), trust)
    try:
        with _impatient():
            return trunks.without_top(source.network, "imagenet")
    except BadInput:
        raise
    except Exception as error:  # Keras raises a bare one where nothing can be fetched
        do = f"give a file of them by --source.weights PATH, or {ELSE}"
        raise BadInput(f"can't be fetched ({reason(error)})", f"{source.network}'s ImageNet weights", do) from None


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _with_file(name: str, path: Path, trust: bool) -> keras.Model:
    """With the weights of a file, which are those of the whole classifier or of what is below its top."""
    from models import safety
    from models.parts import trunks

    if not path.is_file():
        raise BadInput("no such file", path, f"check the path, or {ELSE}")
    if not trust:
        with _readable(path, "give its weights, .h5 or .weights.h5"):
            safety.check_weights(path)
    bare, faults = trunks.without_top(name, None), []
    for network in (bare, trunks.application(name)):
        try:
            network.load_weights(path)
        except Exception as error:  # whatever reading a damaged or another network's file raises
            faults.append(reason(error))
            continue
        # Not all layers have names of their own, but both networks begin alike.
        own = [layer for layer in bare.layers if layer.weights]
        for layer, known in zip(own, (layer for layer in network.layers if layer.weights), strict=False):
            layer.set_weights(known.get_weights())
        return bare
    raise BadInput(f"does not hold the weights of {name} ({faults[0]})", path, "give its own, with or without top")
