import io
import json
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest
from rich.console import Console

from data.errors import BadInput
from pipelines import sync
from pipelines.tracking import begun, environment, journal, outbox, runs, unfinished
from pipelines.tracking import store as where

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "unfinished" / "a1"
    journal.create(place, {"id": "a1", "name": "first", "experiment": "digits", "store": "s", "started": 1.0})
    return place


@pytest.fixture
def records(folder):
    opened = journal.Journal(folder)
    yield opened
    opened.release()


def reopened(opened):
    opened.release()
    return journal.Journal(opened.folder)


class Fake:
    """A store's client that keeps what it is given, and fails as often as it is told."""

    def __init__(self, failures=0, error=None):
        self.failures, self.error = failures, error or ConnectionError("Connection refused")
        self.metrics, self.sizes = [], []

    def log_batch(self, run, metrics=(), params=(), tags=()):
        if self.failures:
            self.failures -= 1
            raise self.error
        self.metrics += [(point.key, point.step) for point in metrics]
        self.sizes.append(len(metrics))


def sender(records, client, monkeypatch):
    """An outbox that hardly waits between its attempts, and what it prints."""
    monkeypatch.setattr(outbox, "WAITS", (0.01,))
    monkeypatch.setattr(where, "client", lambda: client)
    console = Console(record=True, file=io.StringIO(), width=300)
    thread = outbox.Outbox(records, console)
    thread.start()
    return thread, console


def test_records_come_back_in_their_order_with_their_times(records):
    before = time.time()
    records.append("params", values={"a": "1"})
    records.metrics({"loss": 0.5}, 1, at=7.25)
    records.metrics({"loss": float("nan")}, 2)
    records.append("tags", values={"name": "with\u2028ends of\nlines, ü"})
    kept = reopened(records)
    assert [record["kind"] for record in kept.records] == ["params", "metrics", "metrics", "tags"]
    assert before <= kept.records[0]["at"] <= time.time()
    assert kept.records[1] == {"kind": "metrics", "at": 7.25, "values": {"loss": 0.5}, "step": 1}
    assert np.isnan(kept.records[2]["values"]["loss"])
    assert kept.records[3]["values"]["name"] == "with\u2028ends of\nlines, ü"
    kept.release()


def test_a_line_that_a_kill_left_half_written_is_dropped(records):
    for step in (1, 2):
        records.metrics({"loss": 0.5}, step)
    path = records.folder / journal.RECORDS
    path.write_bytes(path.read_bytes()[:-5])
    kept = reopened(records)
    kept.metrics({"loss": 0.25}, 2)
    again = reopened(kept)
    assert [(record["step"], record["values"]["loss"]) for record in again.records] == [(1, 0.5), (2, 0.25)]
    again.release()


def test_a_damaged_line_is_named(records):
    records.append("tags", values={})
    path = records.folder / journal.RECORDS
    path.write_bytes(b"{\n" + path.read_bytes())
    with pytest.raises(BadInput, match=r"journal\.jsonl"):
        reopened(records)


def test_a_metric_is_recorded_once_for_each_step(records):
    records.metrics({"loss": 0.5, "accuracy": 0.1}, 1)
    kept = reopened(records)
    kept.metrics({"loss": 0.75, "top5": 0.9}, 1)
    kept.metrics({"loss": 0.75}, 1)
    assert [record["values"] for record in kept.records] == [{"loss": 0.5, "accuracy": 0.1}, {"top5": 0.9}]
    assert kept.last_step("lo") == 1
    kept.release()


def test_what_has_arrived_is_known_after_a_restart(records):
    for step in (1, 2, 3):
        records.metrics({"loss": 0.5}, step)
    records.confirm(2)
    kept = reopened(records)
    assert kept.sent == 2
    (kept.folder / journal.SENT).write_text("")
    again = reopened(kept)
    assert again.sent == 0
    (again.folder / journal.SENT).write_text("99")  # of a journal whose last lines were lost with the power
    last = reopened(again)
    assert last.sent == 3
    last.release()


def test_one_process_at_a_time(records, folder):
    with pytest.raises(BadInput, match="another process"):
        journal.Journal(folder)
    assert journal.is_open(folder)
    records.release()
    assert not journal.is_open(folder)
    journal.Journal(folder).release()


def test_looking_whether_a_run_is_recorded_keeps_nobody_from_it(records, folder):
    records.release()
    look = journal.FileLock(folder / "lock", thread_local=False)
    look.acquire()
    threading.Timer(0.1, look.release).start()
    journal.Journal(folder).release()


JOURNAL = """
records = journal.Journal(folder)
def write(text):
    records.append("tags", values={"text": text})
"""
SEARCH = """
log = trials.Log(folder / journal.RECORDS)
def write(text):
    log.created(trials.Asked(text, {}), "worker")
"""


@pytest.mark.parametrize("opening", [JOURNAL, SEARCH])
def test_a_full_disk_leaves_no_half_line(folder, opening):
    code = f"""
import resource, signal, sys
from pathlib import Path
from pipelines.tracking import journal
from pipelines.tuning import trials
folder = Path(sys.argv[1])
{opening}
write("first" * 30)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = (folder / journal.RECORDS).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 150, size + 400))
try:
    write("second" * 30)
except OSError as error:
    assert error.filename == str(folder / journal.RECORDS)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 400, size + 400))
    write("third" * 30)
"""
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True)
    kept = (folder / journal.RECORDS).read_text().splitlines()
    assert [("first" in line, "second" in line, "third" in line) for line in kept] == [
        (True, False, False),
        (False, False, True),
    ]
    assert all(json.loads(line) for line in kept)


def test_a_run_that_ends_while_all_are_listed_is_left_out(folder, monkeypatch):
    journal.create(folder.with_name("b2"), {"id": "b2", "store": "s", "started": 2.0})
    journal.create(folder.with_name("c3"), {"id": "c3", "store": "s", "started": 3.0})
    read = journal.read_header

    def vanishing(place):
        if place.name == "b2":
            journal.remove(place)
        return read(place)

    monkeypatch.setattr(journal, "read_header", vanishing)
    assert [place.name for place in journal.headers(folder.parent)] == ["c3", "a1"]


def test_what_fails_is_sent_again_in_order_and_its_user_told_once(records, monkeypatch):
    client = Fake(failures=5)
    thread, console = sender(records, client, monkeypatch)
    for step in range(1, 301):
        records.metrics({"loss": 1 / step}, step)
    assert thread.close(5.0)
    assert client.metrics == [("loss", step) for step in range(1, 301)]
    assert (records.folder / journal.SENT).read_text() == "300"
    lines = console.export_text().splitlines()
    assert [line.partition(": ")[2].partition(";")[0] for line in lines] == ["can't be reached", "takes records again"]


def test_a_short_fault_is_not_worth_a_line(records, monkeypatch):
    thread, console = sender(records, Fake(failures=2), monkeypatch)
    records.metrics({"loss": 0.5}, 1)
    assert thread.close(5.0)
    assert console.export_text() == ""


def test_the_end_waits_for_a_store_only_so_long(records, monkeypatch):
    thread, _ = sender(records, Fake(failures=10**9), monkeypatch)
    records.metrics({"loss": 0.5}, 1)
    begin = time.monotonic()
    assert not thread.close(0.5)
    assert 0.5 <= time.monotonic() - begin < 3
    assert thread.fault == "can't be reached"
    thread.join(5)
    assert not thread.is_alive()
    assert records.sent == 0


def test_the_end_does_not_wait_for_a_store_that_refuses(records, monkeypatch):
    error = mlflow.exceptions.MlflowException(
        "the run is deleted", mlflow.protos.databricks_pb2.INVALID_PARAMETER_VALUE
    )
    thread, console = sender(records, Fake(failures=10**9, error=error), monkeypatch)
    records.metrics({"loss": 0.5}, 1)
    begin = time.monotonic()
    assert not thread.close(60.0)
    assert time.monotonic() - begin < 10
    assert "the run is deleted" in console.export_text()
    thread.join(5)


def test_no_request_holds_more_than_a_store_takes(records, monkeypatch):
    client = Fake()
    with records.changed:  # so that all are waiting when the first are sent
        for step in range(1, 91):
            records.metrics({f"metric{number}": 0.5 for number in range(30)}, step)
        thread, _ = sender(records, client, monkeypatch)
    assert thread.close(5.0)
    assert client.sizes == [1000, 1000, 700]
    assert len(set(client.metrics)) == 2700


def test_passwords_are_shown_nowhere(monkeypatch):
    for address in (
        "https://me:s@cret@example.org/x",
        "https://me:se/cret@example.org/x",
        "http://me:cret@example.org/x",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert where.public(address).endswith("//example.org/x")
        said = where.plain(Exception(f"API request to {address} failed {'a' * 400}"))
        assert "cret" not in said
        assert "//example.org/x failed" in said
    assert where.public("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HTTPConnectionPool: Max retries exceeded (Caused by NewConnectionError)", "can't be reached"),
        ("('Connection aborted.', RemoteDisconnected('...'))", "can't be reached"),
        ("Max retries exceeded (Caused by: too many 503 error responses)", "it answers with HTTP status 503"),
        ("no such table: runs (Background on this error at: https://s)", "can't be used: no such table: runs"),
    ],
)  # fmt: skip
def test_a_fault_in_few_words(text, said):
    assert where.plain(Exception(text)).endswith(said)


def test_a_new_database_is_there_whole_or_not_at_all(monkeypatch):
    made = []

    class Client:
        def __init__(self, address):
            self.path = Path(address.removeprefix("sqlite:///"))

        def search_experiments(self, max_results):
            assert not list(self.path.parent.glob("*.new*"))
            made.append(self.path)
            self.path.with_name(self.path.name + "-journal").touch()
            self.path.write_text("half" if len(made) == 1 else "whole")
            if len(made) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(mlflow, "MlflowClient", Client)
    with pytest.raises(KeyboardInterrupt):
        where._create()
    assert not where.database().exists()
    where._create()
    where._create()
    assert len(made) == 2
    assert where.database().read_text() == "whole"


@pytest.fixture
def recorded(store, monkeypatch):
    """The journal of a run that has recorded one of each kind, which all have arrived."""
    monkeypatch.setattr(environment, "requirements", lambda: ["numpy==1.0"])
    monkeypatch.setattr(outbox.Outbox, "close", lambda thread, patience: False)  # its folder stays
    monkeypatch.setattr(outbox.Outbox, "run", lambda thread: None)
    console = Console(quiet=True)
    with runs.start("digits", "first", {"stage": "train"}, {"epochs": 3}, {}, console) as run:
        run.text("recipe.json", "{}")
        run.text("figures/note.txt", "of a figure")
        run.dataset({"name": "digits", "origin": "o", "source": "embedded", "sha256": "0" * 64})
        for epoch in (1, 2, 3):
            run.metrics({"val/loss": 1 / epoch, "val/accuracy": 0.1 * epoch}, epoch)
        run.metrics({"test/accuracy": 0.9, "test/nan": float("nan")})
        (run.model_folder() / "weights").write_text("of the network")
        run.model(np.zeros((1, 2), np.uint8), np.zeros((1, 3), np.float32))
    records = journal.Journal(run.folder)
    outbox.send_all(records)
    yield records
    records.release()


def test_a_run_whose_process_was_killed_as_it_began_is_ended(store, monkeypatch, run_stage):
    console, client = Console(quiet=True), where.connect()
    nothing = ({}, {}, {}, console)

    class Killed(BaseException):
        pass

    def kill(folder, header):
        folder.mkdir()
        raise Killed

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(journal, "create", kill)
        with runs.start("digits", "lost", *nothing):
            pass
    with begun.noted(where.unfinished()) as mark:
        number = where.experiment(client, "digits")
        living = client.create_run(number, tags={begun.TAG: mark}, run_name="living").info.run_id
        with runs.start("digits", "next", *nothing):
            states = {run.info.run_name: run.info.status for run in client.search_runs([number])}
    assert states == {"lost": "KILLED", "living": "RUNNING", "next": "RUNNING"}
    (lost,) = client.search_runs([number], "attributes.run_name = 'lost'")
    assert lost.data.tags["failure"] == begun.WHY
    assert not list(where.unfinished().iterdir())

    with suppress(Killed), begun.noted(where.unfinished()) as mark:
        client.set_tag(living, begun.TAG, mark)
        raise Killed
    assert run_stage(sync)[0] == 0
    assert client.get_run(living).info.status == "KILLED"


def contents(run):
    """All that a store holds of a run, and the ids of its models."""
    client = mlflow.MlflowClient()
    found = client.get_run(run)
    points = {
        name: sorted((point.step, point.timestamp, str(point.value)) for point in client.get_metric_history(run, name))
        for name in found.data.metrics
    }
    files = [item.path for folder in ("", "figures") for item in client.list_artifacts(run, folder)]
    models = client.search_logged_models([found.info.experiment_id], f"source_run_id = '{run}'")
    plain = (found.data.params, found.data.tags, found.info.status, found.info.end_time, points, files)
    linked = [output.model_id for output in found.outputs.model_outputs]
    return plain, [(model.model_id, model.status) for model in models], linked, len(found.inputs.dataset_inputs)


def test_sending_all_again_adds_nothing(recorded):
    assert {record["kind"] for record in recorded.records} == set(outbox.SENDERS) - {"source"}
    before = contents(recorded.header["id"])
    (params, tags, status, ended, points, files), models, linked, datasets = before
    assert (params, status, datasets) == ({"epochs": "3"}, "FINISHED", 1)
    assert len(points["val/loss"]) == 3
    assert len(points["test/nan"]) == 1
    assert {"recipe.json", "environment.txt", "figures/note.txt"} <= set(files)
    assert models == [(linked[0], "READY")]
    assert len(linked) == 1
    recorded.confirm(0)
    outbox.send_all(recorded)
    assert contents(recorded.header["id"]) == before


def test_a_model_that_was_asked_for_twice_is_there_once(recorded):
    """A server that hung does later what a client has given up and asked for again."""
    before = contents(recorded.header["id"])
    client = mlflow.MlflowClient()
    client.create_logged_model(client.get_run(recorded.header["id"]).info.experiment_id, "model", recorded.header["id"])
    assert len(contents(recorded.header["id"])[1]) == 2
    recorded.confirm(0)
    outbox.send_all(recorded)
    assert contents(recorded.header["id"]) == before


@pytest.mark.parametrize("step", ["log_model_artifacts", "log_outputs", "finalize_logged_model"])
def test_a_model_whose_sending_broke_off_is_completed(recorded, step, monkeypatch):
    run = recorded.header["id"]
    client = mlflow.MlflowClient()
    copy = client.create_run(client.get_run(run).info.experiment_id)
    recorded.header["id"] = copy.info.run_id

    def breaks_off(*arguments, **named):
        raise ConnectionError("Connection refused")

    recorded.confirm(0)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, step, breaks_off)
        with pytest.raises(ConnectionError):
            outbox.send_all(recorded)
    outbox.send_all(recorded)
    _, models, linked, _ = contents(copy.info.run_id)
    assert models == [(linked[0], "READY")]
    assert len(linked) == 1


def test_a_run_that_was_killed_ended_when_it_was_last_heard_of(recorded):
    record = {"kind": "metrics", "at": 99.0, "values": {"late": 1.0}, "step": 1}
    lines = [line for line in recorded.records if line["kind"] != "status"] + [record]
    last = max(line["at"] for line in lines)
    recorded.header["continues"] = True
    journal.write_whole(recorded.folder / journal.HEADER, json.dumps(recorded.header))
    journal.write_whole(recorded.folder / journal.RECORDS, "".join(json.dumps(line) + "\n" for line in lines))
    recorded.confirm(0)
    recorded.release()
    time.sleep(0.05)
    assert unfinished.send(recorded.folder) == (len(lines) + 1, True)
    info = mlflow.MlflowClient().get_run(recorded.header["id"]).info
    assert (info.status, info.end_time) == ("KILLED", int(last * 1000))


def test_records_of_a_deleted_run_are_kept_and_go_once_it_is_restored(recorded):
    client = mlflow.MlflowClient()
    client.delete_run(recorded.header["id"])
    recorded.metrics({"late": 1.0}, 1)
    with pytest.raises(mlflow.exceptions.MlflowException) as caught:
        outbox.send_all(recorded)
    assert where.refuses(caught.value)
    assert recorded.sent == len(recorded.records) - 1
    client.restore_run(recorded.header["id"])
    outbox.send_all(recorded)
    assert client.get_run(recorded.header["id"]).data.metrics["late"] == 1.0
