"""Work that all processors do at once, or that is not waited for without end."""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


class NoAnswer(Exception):  # noqa: N818
    """Something did not come to its end in time."""


@contextmanager
def working(doing: str, total: int, ahead: int, shown: bool, step: int = 1) -> Iterator[Callable]:
    """A map by all processors' threads whose results come in order.

    Args:
        doing: what the bar says.
        total: how far it goes.
        ahead: so many results wait to be taken, at most.
        shown: whether there is a bar.
        step: how far each result brings it.
    """
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        Progress(*columns, transient=True, disable=not shown) as progress,
    ):
        bar = progress.add_task(doing, total=total)

        def work(act: Callable, items: Sequence) -> Iterator[object]:
            for start in range(0, len(items), ahead):
                found = list(pool.map(act, items[start : start + ahead]))
                yield from found
                progress.advance(bar, step * len(found))

        yield work


def answer(act: Callable[[], object], seconds: float) -> object:
    """What a function that raises nothing returns, from a thread that is left behind where it takes too long.

    Raises:
        NoAnswer: after so many seconds.
    """
    answers: queue.Queue = queue.Queue()
    threading.Thread(target=lambda: answers.put(act()), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswer from None
