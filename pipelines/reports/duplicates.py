"""What is told of images that stand twice: sentences, a table, a file of all pairs, a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.duplicates import CHANCE, REACH

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

    from data.duplicates import Found
    from data.spec import Cached

LISTED, DRAWN, NAMED = 20, 40, 5
"""Pairs in the table, in the figure, and named for their different labels."""

LONGEST = 24
"""Characters of a name in the figure; of longer ones their end is shown."""


def write(cached: Cached, found: Found, console: Console) -> None:
    """Tell it, and put ``duplicates.csv`` and ``duplicates.png`` into the dataset's place in the cache."""
    from pipelines.reports import figures

    pairs = _named(cached, found.pairs)
    for sentence in sentences(pairs, found):
        console.print(sentence, soft_wrap=True)
    listing, drawing = cached.place / "duplicates.csv", cached.place / "duplicates.png"
    if pairs.empty:
        for path in (listing, drawing):
            path.unlink(missing_ok=True)  # of a search before
        return
    best = pairs.drop_duplicates(["part", "row"]).to_dict("records")
    console.print(_table(best[:LISTED], len(best)))
    pairs.to_csv(listing, index=False)
    drawn = best[:DRAWN]
    titles = [f"{_short(pair, '')}\n{_short(pair, 'other_')}\n{_how(pair)}" for pair in drawn]
    images = [_images(cached, pair) for pair in drawn]
    figures.pairs(images, titles, [_differs(pair) for pair in drawn], cached.notice).savefig(drawing)
    console.print(f"list of all pairs ({len(pairs):,}): {listing}", soft_wrap=True)
    console.print(f"figure of the most similar ({len(drawn)}): {drawing}", soft_wrap=True)


def sentences(pairs: pd.DataFrame, found: Found) -> list[str]:
    """How many images stand twice, and where; whose labels differ; what was not looked for."""
    told = [_counted(pairs, found, *compared) for compared in found.compared]
    different = pairs[_differs(pairs)].to_dict("records")
    if different:
        named = "; ".join(f"{_labelled(pair, '')} and {_labelled(pair, 'other_')}" for pair in different[:NAMED])
        rest = "; …" if len(different) > NAMED else ""
        told.append(f"pairs with different labels, {len(different):,} of {len(pairs):,}: {named}{rest}")
    if not found.told:
        told.append(
            "near-duplicates were not sought: these images are so much alike that copies can't be told "
            f"(a tenth of random pairs has a similarity above {found.chance:.2f}; {CHANCE} is the limit)"
        )
    if found.strict:
        reach = f"{max(0, REACH - found.strict)} bits, not {REACH}"
        told.append(f"too many images are alike: only pairs were looked at whose hashes differ in at most {reach}")
    if pairs.empty:
        return [*told, "nothing was found, so there is nothing to list"]
    if any(part == other for part, other, _ in found.compared) and found.told:
        told.append("a test set that is cut from them keeps equal images together, but not those that are nearly so")
    return told


def _counted(pairs: pd.DataFrame, found: Found, part: str, other: str, count: int) -> str:
    here = pairs[(pairs["part"] == part) & (pairs["other_part"] == other)]
    best = here.drop_duplicates("row")["kind"]
    equal, near, mirrored = ((best == kind).sum() for kind in ("equal", "near", "mirrored"))
    text = f"{part}, {count:,} images: equal to {f'one of {other}' if part != other else 'an earlier one'} {equal:,}"
    if not found.told:
        return text
    return f"{text}, nearly so {near + mirrored:,} ({(near + mirrored) / count:.2%}), of these mirrored {mirrored:,}"


def _named(cached: Cached, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the classes and, where there are some, the files of both."""
    import pandas as pd

    classes, named = cached.manifest["classes"], {}
    for side in ("", "other_"):
        places = list(zip(pairs[f"{side}part"], pairs[f"{side}row"], strict=True))
        named |= {f"{side}part": pairs[f"{side}part"], f"{side}row": pairs[f"{side}row"]}
        named[f"{side}class"] = [_plain(classes[cached.labels[part][row]]) for part, row in places]
        if cached.files:
            named[f"{side}file"] = [_plain(cached.files[part][row]) for part, row in places]
    return pd.DataFrame(named | {name: pairs[name] for name in ("kind", "bits", "similarity")})


def _plain(name: str) -> str:
    """A name whose bytes are no text can't be written as such."""
    return name.encode(errors="backslashreplace").decode()


def _table(best: list[dict], count: int) -> Table:
    from rich.table import Table

    title = f"The {len(best)} most similar of {count:,} such images" if count > len(best) else ""
    table = Table(title=title, title_justify="left")
    for column in ("image", "class", "stands as", "class", "how", "bits", "similarity", ""):
        table.add_column(column, justify="right" if column in ("bits", "similarity") else "left")
    for pair in best:
        both = (text for side in ("", "other_") for text in (_name(pair, side), pair[f"{side}class"]))
        how = pair["kind"], str(pair["bits"]), f"{pair['similarity']:.3f}"
        table.add_row(*both, *how, "labels differ" if _differs(pair) else "")
    return table


def _differs(pairs: dict | pd.DataFrame) -> bool | pd.Series:
    return pairs["class"] != pairs["other_class"]


def _name(pair: dict, side: str) -> str:
    """An image's file, or its part and row."""
    return pair.get(f"{side}file") or f"{pair[f'{side}part']} {pair[f'{side}row']}"


def _labelled(pair: dict, side: str) -> str:
    return f"{_name(pair, side)} ({pair[f'{side}class']})"


def _short(pair: dict, side: str) -> str:
    """An image's name and class as a figure can show them."""
    name, label = (" ".join(text.split()) for text in (_name(pair, side), pair[f"{side}class"]))
    return f"{name if len(name) <= LONGEST else f'…{name[1 - LONGEST :]}'} ({label})"


def _how(pair: dict) -> str:
    return "equal" if pair["kind"] == "equal" else f"{pair['kind']} {pair['similarity']:.2f}"


def _images(cached: Cached, pair: dict) -> np.ndarray:
    places = ((pair[f"{side}part"], pair[f"{side}row"]) for side in ("", "other_"))
    return np.concatenate([cached.images[part][np.array([row])] for part, row in places])
