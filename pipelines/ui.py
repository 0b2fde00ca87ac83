"""Open the recorded runs in MLflow's pages, on this machine only.

usage: python -m pipelines.ui [PORT]
"""

from __future__ import annotations

import os
import sys

from data.errors import BadInput
from pipelines import command


def main(arguments: list[str]) -> None:
    """Become MLflow's server for the store in use."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return
    port = arguments[0] if arguments else "5000"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInput(f"{port} is no port", "PORT", "give a number from 1 to 65535")

    from pipelines.tracking import recorded, store

    if store.uri().startswith("http"):
        print(f"The store is a server: open {store.public(store.uri())}")
        return
    names = recorded.experiments()
    here = f"http://127.0.0.1:{port}"
    print(f"{here} shows {store.public(store.uri())}; Ctrl-C ends it", flush=True)
    for number, name in names.items():  # its list of experiments leads to a page about language models
        print(f"  {here}/#/experiments/{number}/runs  {name}", flush=True)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # eight processes that training has no use for
    os.environ["MLFLOW_BACKEND_STORE_URI"] = store.uri()  # a password in it is not for all who list processes
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    os.execv(sys.executable, server)


if __name__ == "__main__":
    command.main(main)
