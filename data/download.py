"""Fetching a publisher's file: with progress, a checksum, and little patience for a silent network."""

import hashlib
from pathlib import Path

from data import parallel
from data.errors import BadInput, reason
from data.spec import Remote

SILENCE = 5.0
"""Seconds without an answer, or between two pieces of a file, after which a download is given up."""

LARGEST = 2 * 2**30
"""Bytes of a file; the largest, SVHN's extra images, has 1.3 GB."""


class Unreachable(Exception):  # noqa: N818
    """The publisher can't be reached from here; an embedded dataset may take over."""


def _open(url: str) -> object:
    """The response to a GET request, or Unreachable after SILENCE seconds, name resolution included.

    The request runs in a thread of its own because no time-out of the library covers name resolution.
    """
    import requests

    def ask() -> requests.Response | requests.RequestException:
        try:
            response = requests.get(url, stream=True, timeout=SILENCE)
            if not response.ok:
                response.close()
            response.raise_for_status()
            return response
        except requests.RequestException as error:
            return error

    try:
        found = parallel.answer(ask, SILENCE)
    except parallel.NoAnswer:
        raise Unreachable(f"no answer in {SILENCE:g} s") from None
    if isinstance(found, Exception):
        raise Unreachable(_plain(found)) from None
    return found


def _plain(error: Exception) -> str:
    """A network error in a few words; the library's own text runs over several lines."""
    import requests

    if isinstance(error, requests.HTTPError):
        return reason(error)
    if isinstance(error, requests.exceptions.InvalidURL):  # not ours; it would repeat a part of its password
        return "the address of the proxy makes no sense"
    if isinstance(error, requests.Timeout):
        return f"no answer in {SILENCE:g} s"
    return "no network" if isinstance(error, requests.ConnectionError) else reason(error)


def check(remote: Remote) -> None:
    """Ask for a file without taking it.

    Raises:
        Unreachable: no connection, or no answer.

    """
    _open(remote.url).close()


def fetch(remote: Remote, folder: Path) -> Path:
    """Download a file into a folder and verify its checksum.

    Raises:
        Unreachable: no connection, or it fell silent.
        BadInput: the file arrived but is not the one that the publisher describes.

    """
    import requests
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    response = _open(remote.url)
    path = folder / remote.name
    algorithm, _, expected = remote.checksum.partition(":")
    digest = hashlib.new(algorithm or "sha256")
    length = response.headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 20 else None
    columns = (
        "[progress.description]{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    try:
        with response, Progress(*columns) as progress, path.open("wb") as file:
            bar = progress.add_task(remote.name, total=size)
            for piece in response.iter_content(2**20):
                if file.tell() + len(piece) > LARGEST:
                    raise BadInput(f"has more than {LARGEST:,} bytes", remote.url, "it is not used; try later")
                file.write(piece)
                digest.update(piece)
                progress.advance(bar, len(piece))
    except requests.RequestException as error:
        raise Unreachable(_plain(error)) from None
    if size and path.stat().st_size != size and not response.headers.get("content-encoding"):
        raise Unreachable(f"{remote.name} broke off after {path.stat().st_size} of {size} bytes")
    if expected and digest.hexdigest() != expected:
        raise BadInput(f"{algorithm} is {digest.hexdigest()}, not {expected}", remote.url, "it is not used; try later")
    return path
