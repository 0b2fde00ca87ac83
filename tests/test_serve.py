"""The scoring server, asked by a real client over HTTP."""

import base64
import io
import os
import re
import signal
import socket
import threading
import time

import numpy as np
import psutil
import pytest
import requests
import uvicorn
from PIL import Image

import data
from data.spec import DataConfig
from pipelines import command, servable, serve, serving
from pipelines.tracking import recorded
from pipelines.tracking import serving as scoring

COUNT = 20
"""Test images that are asked about."""


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_CACHE", "/nonexistent")
        return data.load(DataConfig("digits")).test.inputs[np.arange(COUNT)]


@pytest.fixture(scope="module")
def served(training):
    """The addresses of two servers in this process: the trained model of digits, and a model of names."""
    folder, _ = training
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false")
        run = recorded.find("last")
        answers = np.stack(recorded.table(run, "predictions")["probabilities"])
        servers = [Background(run.load_model()), Background(Names())]
        yield servers[0].address, servers[1].address, answers
        for server in servers:
            server.stop()


class Names:
    """A model of texts whose answers can be told: the share of a's, and the rest."""

    kind, classes = "text", ("a", "other")
    read = servable.TextInput({"vocabulary": "abn", "fold": False, "longest": 6, "classes": classes})

    def predict(self, texts):
        self.read(texts)
        if "boom" in texts:
            raise RuntimeError("secret")
        shares = np.array([text.count("a") / len(text) for text in texts])
        return np.stack([shares, 1 - shares], axis=1)


class Background:
    def __init__(self, model):
        listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}{scoring.PATH}"
        app = scoring.app(serving.Served(model))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.should_exit = True
        self.thread.join(10)


def test_pixels_and_base64_are_answered_as_recorded(served, images):
    address, _, answers = served
    for key, inputs in {
        "inputs": images.tolist(),
        "instances": images.tolist(),
        "base64": [encoded(image) for image in images],
    }.items():
        got = requests.post(address, json={key if key != "base64" else "inputs": inputs}, timeout=60)
        assert got.status_code == 200, got.text
        np.testing.assert_allclose(got.json()["predictions"], answers[:COUNT], atol=1e-5)
    table = {"dataframe_split": {"columns": ["image"], "data": [[encoded(images[3])]]}}
    np.testing.assert_allclose(
        requests.post(address, json=table, timeout=60).json()["predictions"], answers[3:4], atol=1e-5
    )


def test_names_are_answered_as_lists_and_tables(served):
    _, address, _ = served
    for request in (
        {"inputs": ["banana", "b"]},
        {"instances": ["banana", "b"]},
        {"dataframe_split": {"columns": ["name"], "data": [["banana"], ["b"]]}},
        {"dataframe_records": [{"name": "banana"}, {"name": "b"}]},
    ):
        got = requests.post(address, json=request, timeout=60)
        assert got.status_code == 200, got.text
        assert got.json()["predictions"] == [[0.5, 0.5], [0.0, 1.0]]


def test_several_clients_get_their_own_answers(served, images):
    address, _, answers = served
    found = {}

    def ask(row):
        got = requests.post(address, json={"inputs": images[row : row + 1].tolist()}, timeout=60)
        found[row] = got.json()["predictions"][0]

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose([found[row] for row in range(COUNT)], answers[:COUNT], atol=1e-5)


MALFORMED = {
    "nothing": b"",
    "no JSON": b'{"inputs":',
    "no UTF-8": b"\xff\xfe",
    "a list": b"[1]",
    "a number": b"7",
    "no inputs": b"{}",
    "two kinds of inputs": b'{"inputs": [1], "instances": [1]}',
    "inputs that are none": b'{"inputs": []}',
    "a single value": b'{"inputs": "x"}',
    "another shape": b'{"inputs": [[1, 2], [3, 4]]}',
    "ragged lists": b'{"inputs": [[1, 2], [3]]}',
    "fractions": b'{"inputs": [[[[0.5]]]]}',
    "no pixels": b'{"inputs": [[[[256]]]]}',
    "not a number": b'{"inputs": [NaN]}',
    "null": b'{"inputs": [null]}',
    "objects": b'{"inputs": [{"a": 1}]}',
    "no base64": b'{"inputs": ["no!"]}',
    "base64 of no image": b'{"inputs": ["AAAA"]}',
    "a table of two columns": b'{"dataframe_split": {"columns": ["a", "b"], "data": [["x", "y"]]}}',
    "no table": b'{"dataframe_split": 4}',
    "a chat": b'{"messages": [{"role": "user", "content": "hello"}]}',
    "parameters": b'{"inputs": ["AAAA"], "params": {"a": 1}}',
    "deep lists": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_malformed_request_gets_400_and_a_sentence(served, case, kind):
    if kind == "texts" and "base64" in case:
        pytest.skip("is a text like any other")
    address = served[kind == "texts"]
    got = requests.post(address, MALFORMED[case], headers={"Content-Type": "application/json"}, timeout=60)
    assert_is_a_sentence(got, 400)


def assert_is_a_sentence(got, status):
    assert got.status_code == status, got.text
    answer = got.json()
    assert set(answer) == {"error_code", "message"}
    assert 10 < len(answer["message"]) <= 300
    assert "\n" not in answer["message"]
    assert "Traceback" not in answer["message"]
    assert "Failed to predict" not in answer["message"], "what MLflow puts before it, with the whole input"


def test_other_contents_and_sizes_are_refused(served, monkeypatch):
    address, _, _ = served
    assert_is_a_sentence(requests.post(address, b"a\n1\n", headers={"Content-Type": "text/csv"}, timeout=60), 400)
    assert_is_a_sentence(requests.post(address, b"{}", timeout=60), 400)
    json = {"Content-Type": "application/json"}
    assert_is_a_sentence(requests.post(address, iter([b"{}"]), headers=json, timeout=60), 400)
    monkeypatch.setattr(scoring, "LARGEST", 1000)
    assert_is_a_sentence(requests.post(address, b" " * 1001, headers=json, timeout=60), 413)


def test_a_fault_of_the_model_keeps_to_itself_what_it_was(served):
    _, address, _ = served
    got = requests.post(address, json={"inputs": ["boom"]}, timeout=60)
    assert_is_a_sentence(got, 500)
    assert "secret" not in got.text


def test_no_file_of_the_server_is_read(served, images, tmp_path, monkeypatch):
    address, _, _ = served
    monkeypatch.chdir(tmp_path)
    Image.fromarray(images[0][:, :, 0]).save(tmp_path / "aaaa.png")
    (tmp_path / "aaaa.png").rename(tmp_path / "aaaa")  # a name that is base64, too
    assert servable.ImageInput({"shape": (8, 8, 1)})(np.array(["aaaa"])).shape == (1, 8, 8, 1)
    answers = {
        requests.post(address, json={"inputs": [name]}, timeout=60).text for name in ("aaaa", "bbbb", "/etc/hosts")
    }
    assert len(answers) == 1, "whether there is such a file can't be told either"
    assert "is no image" in answers.pop()


def test_base64_of_any_length_is_no_path(images):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    text = encoded(pixels[:, :, None])
    assert 255 < len(text) < 4096
    read = servable.ImageInput({"shape": (24, 24, 1)})
    np.testing.assert_array_equal(read(np.array([text]))[0, :, :, 0], pixels)


def test_answers_do_not_wait_for_acknowledgements():
    with serve._listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_that_others_can_ask_is_said_first(trained, run_stage, monkeypatch, capfd):
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: print("serves", flush=True))
    for host in ("0.0.0.0", "::"):
        status, _, err = run_stage(serve, "last", "--host", host, "--port", 0)
        assert status == 0
        assert re.fullmatch(rf"warning: {host}:\d+: everybody who reaches this machine [^\n]* no password\n", err)
    for host in ("localhost", "127.0.0.2", "::1"):
        command.warn_of_strangers(host, host)
    assert capfd.readouterr().err == ""


def test_the_stage_says_its_address_and_ends_by_ctrl_c(trained, run_stage, images, monkeypatch):
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "false")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found, places = [], set()

    def listens(one):
        return one.status == psutil.CONN_LISTEN and one.laddr.port == port

    def ask_and_interrupt():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not found:
            try:
                found.append(
                    requests.post(f"http://127.0.0.1:{port}/invocations", json={"inputs": images.tolist()}, timeout=60)
                )
                places.update(one.laddr.ip for one in psutil.Process().net_connections("tcp") if listens(one))
            except requests.ConnectionError:
                time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    client = threading.Thread(target=ask_and_interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores it
    client.start()
    status, out, err = run_stage(serve, "last", "--port", port)
    client.join()
    signal.signal(signal.SIGINT, before)
    assert status == 130
    assert err == "interrupted\n"
    assert places == {"127.0.0.1"}
    assert f"http://127.0.0.1:{port}/invocations answers" in out
    assert "probabilities, of: 0, 1, 2" in out
    assert len(found[0].json()["predictions"]) == COUNT
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = run_stage(serve, "last", "--port", taken.getsockname()[1])
    assert status == 2
    assert "give another --port" in err
