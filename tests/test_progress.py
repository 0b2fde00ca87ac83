import io

from rich.console import Console

from pipelines.fitting import progress as module
from pipelines.fitting.progress import Progress

METRICS = {"train/loss": 0.5, "learning_rate": 0.1, "epoch_seconds": 2.0, "examples_per_second": 50.0}


def shown(terminal, interval, monkeypatch, costs=(1, 1)):
    monkeypatch.setattr(module, "INTERVAL", interval)
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=150)
    made = Progress(console, steps=10, costs=costs, limit=20, batch_size=5)
    made.begin(1)
    for step in range(1, 6):
        made.advance(step, step * 2.0, {"accuracy": 0.25, "loss": 1.5})
    made.end(1, METRICS)
    return output.getvalue()


def test_plain_lines_where_the_output_is_no_terminal(monkeypatch):
    text = shown(False, -1.0, monkeypatch)
    assert "\x1b" not in text
    assert "epoch 1/2  step 5/10  accuracy 0.2500  loss 1.5000  2/s  0:30 left" in text
    assert text.splitlines()[-1] == "epoch 1/2  train/loss 0.5000  50/s  2.0 s"


def test_a_quiet_epoch_is_one_line(monkeypatch):
    assert len(shown(False, 1e9, monkeypatch).splitlines()) == 1


def test_time_left_knows_that_later_epochs_cost_more(monkeypatch):
    assert "1:30 left" in shown(False, -1.0, monkeypatch, costs=(1, 4))


def test_a_terminal_has_a_bar_that_goes_away(monkeypatch):
    text = shown(True, 1e9, monkeypatch)
    assert "epoch 1/2" in text
    assert "\x1b" in text
