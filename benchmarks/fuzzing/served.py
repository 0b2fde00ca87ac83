"""Targets: requests to the scoring server, which answers in a thread of this process; its models' answers are known."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading
from functools import cache, partial
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from benchmarks.fuzzing.files import saved
from benchmarks.fuzzing.mutations import VALUES, reshaped
from benchmarks.fuzzing.oracle import Seed, Target
from data.errors import BadInput
from pipelines import servable, serving

REFUSALS = (400, 404, 405, 411, 413, 415, 422)

SHAPE = (8, 8, 1)


class Images:
    """Answers with the shares of three sums of an image's pixels."""

    kind, classes = "images", ("a", "b", "c")

    def __init__(self) -> None:
        self.read = servable.ImageInput({"shape": SHAPE})
        self.weights = np.random.default_rng(0).normal(size=(64, 3))

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Probabilities, (N, 3)."""
        return servable.softmax(self.read(values).reshape(-1, 64) / 255 @ self.weights)


class Texts:
    """Answers with the share of a's in a text, and the rest."""

    kind, classes = "text", ("a", "other")
    read = servable.TextInput({"vocabulary": "abn", "fold": False, "longest": 6, "classes": classes})

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Shares, (N, 2)."""
        self.read(np.asarray(values))
        shares = np.array([text.count("a") / len(text) for text in np.asarray(values).tolist()])
        return np.stack([shares, 1 - shares], axis=1)


MODELS = {"images": Images, "text": Texts}


@cache
def port(kind: str) -> int:
    """Where a model of this kind is served."""
    import uvicorn

    from pipelines.tracking import serving as scoring

    listening = socket.create_server(("127.0.0.1", 0))
    app = scoring.app(serving.Served(MODELS[kind]()))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    return listening.getsockname()[1]


def posted(body: bytes, head: bytes = b"POST /invocations HTTP/1.1", kind: bytes = b"application/json") -> bytes:
    return head + b"\r\nHost: h\r\nContent-Type: " + kind + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _length(head: bytes) -> int:
    """Bytes of the body, as its head says."""
    return max(map(int, re.findall(rb"(?i)\ncontent-length: *(\d{1,18})", head)), default=0)


def _send(request: bytes, kind: str) -> tuple[int, bytes]:
    """Status and body of the answer; 0 where the request has no end, so that its client hangs up."""
    head, end, body = request.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port(kind)), timeout=8) as client:
        client.sendall(request)
        if not end or len(body) < _length(head):
            return 0, b""
        answer = http.client.HTTPResponse(client, method="HEAD" if request.startswith(b"HEAD") else "POST")
        answer.begin()
        return answer.status, answer.read()


@cache
def _good(kind: str) -> bytes:
    return _requests(kind)[0].finish(_requests(kind)[0].content)


def _ask(path: Path, kind: str) -> tuple[bytes, bytes]:
    """The request and the answer; right after it, a good request must be answered."""
    request = path.read_bytes()
    try:
        status, answer = _send(request, kind)
    except (ConnectionResetError, BrokenPipeError):  # refused before all of it was read
        status, answer = 0, b""
    assert _send(_good(kind), kind)[0] == 200, "a good request is not answered any more"
    text = answer.decode()
    if status == 0 or status in REFUSALS:
        assert not re.search(r"(?s)Traceback|\n.*\n|/tmp|/home|/root|\.py\b|.{500}", text), text
        raise BadInput(f"{status} {text}")
    assert status == 200, f"{status} {text[:500]}"
    return request, answer


def _is_right(found: tuple[bytes, bytes], kind: str) -> bool:
    """Whether the answer is the model's own."""
    request, answer = found
    if b" /invocations" not in request.split(b"\r\n")[0]:
        return True
    rows = np.array(json.loads(answer)["predictions"])
    head, _, body = request.partition(b"\r\n\r\n")
    document = json.loads(body[: _length(head)])
    given = document.get("inputs", document.get("instances"))
    if given is None:
        split = document.get("dataframe_split", {}).get("data")
        given = [value for row in split or document["dataframe_records"] for value in (row if split else row.values())]
    given = next(iter(given.values())) if isinstance(given, dict) else given
    texts = isinstance(given[0], str)
    wanted = MODELS[kind]().predict(np.array(given, dtype=object) if texts else np.array(given).astype(np.uint8))
    return rows.shape == wanted.shape and np.allclose(rows, wanted, atol=1e-5) and np.allclose(rows.sum(1), 1)


@cache
def _documents(kind: str) -> list[dict]:
    picture = base64.b64encode(saved("png", "L")).decode()
    inputs = [picture, picture] if kind == "images" else ["banana", "b"]
    forms = [{"inputs": inputs}, {"instances": inputs}, {"dataframe_records": [{"x": value} for value in inputs]}]
    forms.append({"dataframe_split": {"columns": ["x"], "data": [[value] for value in inputs]}})
    if kind == "images":
        forms.append({"inputs": np.arange(128).reshape(2, 8, 8, 1).tolist()})
    return forms


@cache
def _requests(kind: str) -> list[Seed]:
    bodies = [json.dumps(document).encode() for document in _documents(kind)]
    return [*(Seed(body, posted) for body in bodies), *(Seed(posted(body)) for body in bodies)]


KEYS = ("inputs", "instances", "dataframe_split", "dataframe_records", "params", "messages", "input", "signature_name")

HEADS = (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"POST", b"post", b"CONNECT")

PATHS = (
    b"/invocations",
    b"/",
    b"/ping",
    b"/version",
    b"/invocations/..",
    b"//invocations",
    b"/%2e%2e/etc/passwd",
    b"*",
)

TYPES = (
    b"application/json",
    b"text/csv",
    b"application/json; charset=latin-1",
    b"application/x-parquet",
    b"multipart/form-data",
    b"\xff",
)

LENGTHS = (b"-1", b"0", b"1", b"99999999999999999999", b"9" * 5000, b"1e3", b"0x10", b"", "²".encode())

ODD = (
    b"[" * 10_000,
    b'{"inputs": ' + b"[" * 9999,
    b'{"inputs": [NaN]}',
    b'{"inputs": [Infinity, -Infinity]}',
    b'{"inputs": [1e999]}',
    b'{"inputs": [' + b"9" * 5000 + b"]}",
    b'{"inputs": [true, null, "a", 1]}',
    b'{"inputs": ["\\ud800"]}',
    b'{"inputs": ["a\\u0000"]}',
    b'{"inputs": [], "inputs": ["a"]}',
    b'{"inputs": [' + b'"a",' * 20_001 + b'"a"]}',
    b'{"inputs": ["' + b"a\xcc\x81" * 9999 + b'"]}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [["x"], ["y", "z", 1]]}}',
    b'{"dataframe_records": [{"a": 1}, {"b": "x"}]}',
    b'\xef\xbb\xbf{"inputs": ["a"]}',
    b'{"inputs": ["a"]}\0',
    b"\xff\xfe{\0",
    b'{"inputs": [[1, 2], [3]]}',
    b'{"inputs": ["", " "]}',
)


def _hostile(kind: str) -> st.SearchStrategy[bytes]:
    documents = (
        st.sampled_from(_documents(kind)).flatmap(reshaped)
        | st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2)
        | VALUES
    )
    bodies = documents.map(lambda value: json.dumps(value).encode()) | st.sampled_from(ODD)
    good = _documents(kind)[0]
    heads = st.tuples(st.sampled_from(HEADS), st.sampled_from(PATHS), st.sampled_from(TYPES)).map(
        lambda parts: posted(json.dumps(good).encode(), b"%s %s HTTP/1.1" % parts[:2], parts[2])
    )
    lengths = st.sampled_from(LENGTHS).map(
        lambda length: re.sub(rb"(Length: )\d+", rb"\g<1>" + length, posted(b'{"inputs": ["a"]}'))
    )
    chunks = st.just(posted(b"5\r\nabcde\r\n0\r\n\r\n").replace(b"Content-Length: 15", b"Transfer-Encoding: chunked"))
    return bodies.map(posted) | heads | lengths | chunks


def _target(kind: str) -> Target:
    name = f"requests, {kind}"
    return Target(
        name,
        "request",
        partial(_ask, kind=kind),
        partial(_requests, kind),
        partial(_is_right, kind=kind),
        _hostile(kind),
        bounded=False,
    )


TARGETS = tuple(map(_target, MODELS))
