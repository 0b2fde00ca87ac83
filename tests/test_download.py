import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from data import download
from data.errors import BadInput
from data.spec import Remote

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Publisher(BaseHTTPRequestHandler):
    """Answers by the first part of the path: whole, missing, broken, chunked or stalled."""

    def do_GET(self):
        kind = self.path.split("/")[1]
        self.send_response({"missing": 404, "faulty": 500}.get(kind, 200))
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif kind != "unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if kind == "chunked":
            self.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT[:1000])
        elif kind in ("broken", "stalled"):
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            if kind == "stalled":
                self.server.released.wait(10)
        elif kind in ("whole", "unsized"):
            self.wfile.write(CONTENT)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def publisher(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        server.released = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def silent(monkeypatch):
    """The address of a machine that takes connections and never says a word."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/file.bin"


@pytest.mark.parametrize("kind", ["whole", "unsized"])
@pytest.mark.parametrize("algorithm", ["sha256", "md5", ""])
def test_file_arrives_whole(publisher, tmp_path, kind, algorithm):
    checksum = f"{algorithm}:{hashlib.new(algorithm, CONTENT).hexdigest()}" if algorithm else ""
    path = download.fetch(Remote(f"{publisher}/{kind}/file.bin", checksum), tmp_path)
    assert path == tmp_path / "file.bin"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == CHECKSUM


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_other_file_than_the_publisher_describes_is_refused(publisher, tmp_path, algorithm):
    other = hashlib.new(algorithm, b"other").hexdigest()
    remote = Remote(f"{publisher}/whole/file.bin", f"{algorithm}:{other}")
    with pytest.raises(BadInput) as caught:
        download.fetch(remote, tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    assert remote.url in text
    assert other in text


@pytest.mark.parametrize("kind", ["broken", "chunked", "missing", "faulty"])
@pytest.mark.parametrize("checksum", ["", f"sha256:{CHECKSUM}"])
def test_publisher_without_the_whole_file_is_unreachable(publisher, tmp_path, kind, checksum):
    with pytest.raises(download.Unreachable) as caught:
        download.fetch(Remote(f"{publisher}/{kind}/file.bin", checksum), tmp_path)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    assert {"missing": "404", "faulty": "500"}.get(kind, "") in text


def test_publisher_that_never_answers_is_given_up(silent, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SILENCE", 0.3)
    start = time.monotonic()
    with pytest.raises(download.Unreachable, match=r"no answer in 0\.3 s"):
        download.fetch(Remote(silent), tmp_path)
    assert time.monotonic() - start < 2


def test_publisher_that_falls_silent_amid_a_file_is_given_up(publisher, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SILENCE", 0.3)
    start = time.monotonic()
    with pytest.raises(download.Unreachable):
        download.fetch(Remote(f"{publisher}/stalled/file.bin"), tmp_path)
    assert time.monotonic() - start < 2


def test_patience_is_about_five_seconds():
    assert 3 <= download.SILENCE <= 6


def test_closed_port_is_no_network(tmp_path, monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(download.Unreachable, match="no network"):
        download.fetch(Remote(f"http://127.0.0.1:{port}/file.bin"), tmp_path)


@pytest.mark.parametrize(
    "proxy", ["http://me:sec/ret@127.0.0.1:9", "http://me:secret@[x", "http://me:secret@127.0.0.1:9"]
)
def test_no_password_of_a_proxy_is_told(tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(download.Unreachable) as found:
        download.fetch(Remote("http://publisher.invalid/file.bin"), tmp_path)
    assert "sec" not in str(found.value)


def test_name_that_is_not_resolved_in_time_is_given_up(tmp_path, monkeypatch):
    released = threading.Event()

    def resolve(*arguments, **named):
        released.wait(10)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(download, "SILENCE", 0.2)
    start = time.monotonic()
    with pytest.raises(download.Unreachable, match=r"no answer in 0\.2 s"):
        download.fetch(Remote("http://publisher.invalid/file.bin"), tmp_path)
    assert time.monotonic() - start < 2
    released.set()
