"""Requests a second and latency of a served model, at 1 and 8 clients, with 1 and 32 inputs a request.

usage: python -m benchmarks.serving [RUN] [SECONDS]

RUN is a recorded model, by default the last one. The server is `python -m pipelines.serve`; the clients are threads of
this program, on the same machine.
"""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import requests
from PIL import Image
from rich.table import Table

import data
from benchmarks.server import ROOT
from pipelines import reports, settings
from pipelines.tracking import recorded

CLIENTS = (1, 8)
BATCHES = (1, 32)
SECONDS = 10.0


def forms(inputs: np.ndarray) -> dict[str, list]:
    """The inputs as JSON, in each way that a server takes them."""
    if inputs.dtype.kind == "U":
        return {"texts": inputs.tolist()}
    files = []
    for image in inputs:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "png")
        files.append(base64.b64encode(file.getvalue()).decode())
    return {"pixels": inputs.tolist(), "png in base64": files}


def client(address: str, body: dict, end: float, latencies: list[float]) -> None:
    """Ask one request after the other."""
    with requests.Session() as session:
        while time.perf_counter() < end:
            began = time.perf_counter()
            session.post(address, json=body, timeout=60).raise_for_status()
            latencies.append(time.perf_counter() - began)


def measure(address: str, body: dict, clients: int, seconds: float) -> tuple[float, float, float]:
    """Requests a second, and the median and 95 % quantile of the latency in milliseconds."""
    client(address, body, time.perf_counter() + 0.5, [])
    latencies: list[float] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(address, body, began + seconds, latencies)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    return len(latencies) / elapsed, 1000 * np.median(latencies), 1000 * np.quantile(latencies, 0.95)


def main() -> None:
    run = recorded.find(sys.argv[1] if len(sys.argv) > 1 else "last")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    test = data.load(settings.from_dict(run.recipe()).data).test
    inputs = np.asarray(test.inputs[np.arange(max(BATCHES))])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "pipelines.serve", run.id, "--port", str(port)], cwd=ROOT)
    try:
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except requests.ConnectionError:
                if server.poll() is not None:
                    sys.exit("the server does not start")
                time.sleep(0.2)
        show(f"http://127.0.0.1:{port}/invocations", run.name, inputs, seconds)
    finally:
        server.terminate()
        server.wait()


def show(address: str, name: str, inputs: np.ndarray, seconds: float) -> None:
    table = Table(title=f"{name}, {seconds:.0f} s each", title_justify="left")
    for column in ("inputs as", "clients", "inputs a request", "requests/s", "inputs/s", "median, ms", "95 %, ms"):
        table.add_column(column, justify="left" if column == "inputs as" else "right")
    for form, values in forms(inputs).items():
        for batch in BATCHES:
            for clients in CLIENTS:
                rate, median, high = measure(address, {"inputs": values[:batch]}, clients, seconds)
                row = (f"{rate:,.0f}", f"{rate * batch:,.0f}", f"{median:.1f}", f"{high:.1f}")
                table.add_row(form, str(clients), str(batch), *row)
    reports.console().print(table)


if __name__ == "__main__":
    main()
