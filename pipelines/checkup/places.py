"""Where things are kept: the store, unfinished runs, free disk space, and the datasets in the cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from data.errors import BadInput, disk_fault, reason
from pipelines.checkup.finding import Finding, failed

DOWNLOAD, ARRAYS = 170.5e6, 184.4e6
"""Bytes of CIFAR-10: the publisher's archive, which lies in the cache while it is read, and what is made of it."""

RUN = {"store": 12e6, "unfinished runs": 50e6, "temporary files": 10e6}
"""Bytes of the default run, rounded up: what it records (9.9e6 measured); two checkpoints of 15.8e6 each and what waits
to be sent (46.3e6 at most); copies of its model on their way to the store (8.8e6)."""


def store() -> Iterator[Finding]:
    """Whether runs can be recorded."""
    from pipelines.tracking import health
    from pipelines.tracking import store as kept

    address = kept.public(kept.uri())
    try:
        yield Finding("store", f"{address} {health.check()}", {"uri": address})
    except BadInput as error:
        yield failed("store", error)


def runs() -> Iterator[Finding]:
    """Runs on this machine that wait to be continued or sent."""
    from pipelines.tracking import health

    waiting = health.waiting()
    if not waiting:
        yield Finding("unfinished runs", "none waits")
        return
    name, again = next(iter(waiting.items()))
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    advice = f"for the newest: {again}" + ("; make sync lists all" if more else "")
    yield Finding("unfinished runs", f"{name}{more}", {"runs": waiting}, advice)


def disk() -> Iterator[Finding]:
    """For each file system that the default run writes to, what is free and what it needs."""
    systems: dict[int, list[tuple[str, Path, float]]] = {}
    for purpose, (path, needed) in _needs().items():
        place = _existing(path)
        fault = _unwritable(place)
        if fault:
            advice = "free space or permissions there, or name another folder"
            yield Finding(
                f"disk for {purpose}", f"{path} can't be written ({fault})", {"path": str(path)}, advice, broken=True
            )
        else:
            systems.setdefault(place.stat().st_dev, []).append((purpose, place, needed))
    for kept in systems.values():
        yield _space(kept)


def _space(kept: list[tuple[str, Path, float]]) -> Finding:
    """The finding about one file system, and what is kept there."""
    needed, free = sum(each for _, _, each in kept), shutil.disk_usage(kept[0][1]).free
    parts = ", ".join(f"{purpose} {each / 1e6:.0f} MB" for purpose, _, each in kept)
    found = f"{free / 1e9:.1f} GB free at {kept[0][1]}; the default run needs {needed / 1e9:.2f} ({parts})"
    data = {"path": str(kept[0][1]), "free": free, "needed": int(needed), "parts": {name: n for name, _, n in kept}}
    if free < needed:
        return Finding("disk", found, data, "free space, or name other places: DATA_CACHE, RUNS_FOLDER, TMPDIR", True)
    advice = "free space: it is enough for this run and not for two" if free < 2 * needed else ""
    return Finding("disk", found, data, advice)


def _needs() -> dict[str, tuple[Path, float]]:
    """Where the default run writes, and how many bytes."""
    from data import holdings
    from data import store as cache
    from pipelines.tracking import store as kept

    folder = kept.database().resolve().parent / "artifacts" if kept.uri().startswith("sqlite:") else None
    has_data = any(holding.name == _default() for holding in holdings.holdings())
    needs = {"data": (cache.root(), 0.0 if has_data else DOWNLOAD + ARRAYS)}
    if folder:
        needs["store"] = (folder, RUN["store"])
    needs["unfinished runs"] = (kept.unfinished(), RUN["unfinished runs"])
    needs["temporary files"] = (Path(tempfile.gettempdir()), RUN["temporary files"])
    return needs


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if os.path.lexists(place))


def _unwritable(place: Path) -> str:
    """Why nothing can be written to a folder; empty where it can: a file without a name was."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        return disk_fault(error) or error.strerror or reason(error)
    return ""


def _default() -> str:
    """The default recipe's dataset."""
    from pipelines import recipes

    return recipes.find("cifar").data.name


def data(say: Callable[[str], None]) -> Iterator[Finding]:
    """Each dataset in the cache, against its checksums; and where the default one would come from.

    Args:
        say: told what is being read.
    """
    from data import holdings

    known = list(holdings.holdings())
    for holding in known:
        say(f"reading {holding.place.parent.name} ({holding.size / 1e6:.0f} MB)")
        yield _holding(holding)
    if not any(holding.name == _default() and holding.source != "embedded" for holding in known):
        yield _absent(_default())


def _holding(holding: object) -> Finding:
    """The finding about a dataset in the cache."""
    name, source, size = f"data {holding.place.parent.name}", holding.source, holding.size
    facts = {"source": source, "version": holding.manifest.get("version"), "bytes": size, "path": str(holding.place)}
    if not holding.is_intact():
        what = f"its manifest can't be read ({holding.fault})" if holding.fault else "differs from its checksums"
        return Finding(name, f"{source}; {what}", facts, holding.remedy, broken=True)
    megabytes = f"{size / 1e6:.1f} MB"
    return Finding(name, f"{source}, version {facts['version']}, {megabytes}, as its checksums say", facts)


def _absent(name: str) -> Finding:
    """The finding about the default dataset, which is not in the cache."""
    import data as datasets
    from data import download

    dataset = datasets.find(name)
    try:
        download.check(dataset.remotes[0])
    except download.Unreachable as error:
        found = f"not in the cache, and can't be fetched ({error}): {dataset.fallback} will stand in"
        return Finding(f"data {name}", found, {"source": "embedded"}, f"make ingest-{name} FROM=path, of a copy")
    return Finding(
        f"data {name}", "not in the cache; its publisher answers, so it will be fetched", {"source": "official"}
    )
