"""Functions in processes of their own."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from data.errors import BadInput
from pipelines import command, isolation


def tell(place):
    print(os.getcwd(), os.environ.get("ASKED"))
    print("and aside", file=sys.stderr)
    place.write_text(f"{os.getpid()} {os.getppid()}")


def look_around():
    from tensorflow.python.eager import context

    names = {task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    libraries = [name in sys.modules for name in ("keras", "mlflow", "grain", "pipelines.training")]
    print(libraries, context.context()._initialized, names)


def refuse(what):
    raise BadInput("can't be", what, "do otherwise")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_end(place):
    place.write_text("there")
    signal.pause()


def work(place):
    time.sleep(3)
    place.write_text("done")


@pytest.mark.parametrize("run", [isolation.run_apart, isolation.run_once])
def test_a_process_has_environment_folder_and_output_of_the_moment(run, tmp_path, monkeypatch, capfd):
    for asked in ("first", "second"):
        folder = tmp_path / asked
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("ASKED", asked)
        assert run(tell, folder / "told") == 0
        assert capfd.readouterr() == (f"{folder} {asked}\n", "and aside\n")
    own = {(tmp_path / asked / "told").read_text().split()[0] for asked in ("first", "second")}
    assert len({str(os.getpid()), *own}) == 3


def test_a_process_begins_with_all_libraries_and_nothing_computed(capfd):
    assert isolation.run_apart(look_around) == 0
    out = capfd.readouterr().out
    assert out.startswith("[True, True, True, True] False "), out
    assert "tf_" not in out, "a thread of TensorFlow's, which a fork would leave behind"


def test_how_a_process_ends_is_told(capfd):
    assert isolation.run_apart(refuse, "this") == 2
    assert capfd.readouterr().err == "error: this: can't be; do otherwise\n"
    assert isolation.run_apart(die) == -signal.SIGKILL


def test_ctrl_c_for_all_processes_at_once_ends_what_runs_and_spares_what_they_begin_from(tmp_path):
    first, second, there = tmp_path / "first", tmp_path / "second", tmp_path / "there"
    isolation.run_apart(tell, first)
    server = int(first.read_text().split()[1])

    def interrupt_all():
        while not there.exists():
            time.sleep(0.01)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(server, number)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_all).start()
    with pytest.raises(command.Interrupted):
        isolation.run_apart(wait_for_end, there)
    isolation.run_apart(tell, second)
    assert second.read_text().split()[1] == str(server)


def test_an_interrupt_that_comes_before_the_process_does_ends_it(tmp_path, monkeypatch):
    started = isolation.multiprocessing.Process.start

    def start(process):
        signal.raise_signal(signal.SIGINT)
        started(process)

    monkeypatch.setattr(isolation.multiprocessing.process.BaseProcess, "start", start)
    with pytest.raises(command.Interrupted):
        isolation.run_apart(work, tmp_path / "work")
    assert not (tmp_path / "work").exists()
