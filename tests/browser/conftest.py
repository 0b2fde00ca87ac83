"""A browser, and a server as ``make ui`` starts it, with a search and a comparison to show.

The browser is the one of this machine: CHROMIUM, or chromium, chromium-browser or google-chrome on PATH.
"""

import json
import os
import re
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright import sync_api

from benchmarks.server import Server
from pipelines import command, compare, train, tune
from pipelines.tracking import store as where
from tests.conftest import QUICK, ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
SCREENSHOTS = ROOT / "mlruns" / "screenshots"
PATIENCE = 120_000  # milliseconds: MLflow's pages take 10 seconds to come up on two busy cores


def find():
    """The browser's path, or nothing."""
    chosen = os.environ.get("CHROMIUM")
    return next(filter(None, map(shutil.which, [chosen] if chosen else NAMES)), None)


def pytest_configure():
    if not find():
        chosen = os.environ.get("CHROMIUM")
        what = f"{chosen} is no program" if chosen else f"there is no browser on PATH ({', '.join(NAMES)})"
        pytest.exit(f"{what}: apt-get install chromium, or name one by CHROMIUM=path", returncode=2)


class Pages(Server):
    """The server of ``make ui``."""

    def command(self):
        return [sys.executable, "-m", "pipelines.ui", str(self.port)]


@dataclass(frozen=True)
class Recorded:
    """What a store holds."""

    folder: Path
    experiment: str
    """Its id."""
    search: object
    trials: list
    trained: object
    """The last training."""
    comparison: Path
    """The page of two trainings."""


@pytest.fixture(scope="session")
def recorded(tmp_path_factory, empty_store):
    """A search of three trials, two trainings and their comparison, in a store of their own."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copy(empty_store, folder / "mlflow.db")
    printed = folder / "printed.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        with printed.open("w", encoding="utf-8") as out, redirect_stdout(out):
            assert command.run(tune.main, [*QUICK, "--strategy", "random", "--trials", "3"]) == 0
            for units in ("64", "16"):
                assert command.run(train.main, [*QUICK, "--model.units", units]) == 0
            assert command.run(compare.main, ["recipe=digits-mlp"]) == 0
        client = where.connect()
        number = client.get_experiment_by_name("digits").experiment_id
        (search,) = client.search_runs([number], "tags.stage = 'tune'")
        trials = client.search_runs([number], "tags.stage = 'trial'")
        trained = client.search_runs([number], "tags.stage = 'train'")[0]
    page = re.search(r"page (\S+comparison\.html);", printed.read_text(encoding="utf-8"))[1]
    return Recorded(folder, number, search, trials, trained, Path(page))


@pytest.fixture(scope="session")
def server(recorded):
    """The address of the server that shows it."""
    pages = Pages(recorded.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{recorded.folder / 'mlflow.db'}")
        patch.setenv("PYTHONPATH", str(ROOT))
        pages.start()
    yield f"{pages.uri}/#"
    pages.kill()


@pytest.fixture(scope="session")
def browser():
    sync_api.expect.set_options(timeout=PATIENCE)
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find(), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser, request, capsys):
    """An empty page of a fresh profile; what it shows at the test's end is kept as a picture."""
    context = browser.new_context(viewport={"width": 1600, "height": 1200})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    yield page
    picture = SCREENSHOTS / f"{request.node.name.removeprefix('test_')}.png"
    page.screenshot(path=picture, full_page=True)
    context.close()
    with capsys.disabled():
        print(f"\n{picture}")


def of_runs(runs, experiment):
    """What MLflow's addresses call several runs."""
    return f"runs={quote(json.dumps([run.info.run_id for run in runs]))}&experiments={quote(json.dumps([experiment]))}"
