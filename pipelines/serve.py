"""Serve a recorded model over HTTP by MLflow's scoring server, on this machine only unless told otherwise.

usage: python -m pipelines.serve RUN [--port 5001] [--host 127.0.0.1]

RUN is an id, a run's name, last, or a registered model, models:/NAME@ALIAS or models:/NAME/VERSION. POST /invocations
takes {"inputs": [...]}: texts, or images as base64 of files or as nested lists of pixels 0 to 255. Ctrl-C ends it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from data.errors import BadInput
from pipelines import command

if TYPE_CHECKING:
    from pipelines.servable import Servable

EXAMPLES = {
    "images": '"{\\"inputs\\": [\\"$(base64 -w0 photo.png)\\"]}"',
    "text": """'{"inputs": ["Nakamura", "Silva"]}'""",
}
"""What curl sends, by the kind of a model's inputs; in a shell's quotes."""


@dataclass(frozen=True)
class Options:
    """What is served, and where."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's id or name, last, models:/NAME@ALIAS or models:/NAME/VERSION."""
    port: int = 5001
    """0 takes a free one."""
    host: str = "127.0.0.1"
    """Address of this machine that is listened at; there is no password: at others all who reach it are answered."""
    trust: bool = False
    """Execute the code that is recorded with the model, and in it; without it nothing of it is executed."""


def main(arguments: list[str]) -> None:
    """Serve the model that the arguments name."""
    options = command.parse(Options, arguments, "python -m pipelines.serve", __doc__)
    command.start_backend()
    import uvicorn

    from pipelines import reports, serving
    from pipelines.tracking import recorded
    from pipelines.tracking import serving as scoring

    console = reports.console()
    found = recorded.find(options.run)
    model = found.load_model(options.trust)
    app = scoring.app(serving.Served(model))
    with _listen(options.host, options.port) as listening:
        host, port = listening.getsockname()[:2]
        command.warn_of_strangers(host, f"{host}:{port}")
        console.print(f"{found.name}: http://{host}:{port}{scoring.PATH} answers; Ctrl-C ends it", soft_wrap=True)
        _explain(model, f"http://{host}:{port}{scoring.PATH}", console.print)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:
        raise BadInput(f"{port} is no port", "--port", "give a number from 0 to 65535")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        what = f"can't be listened at ({error.strerror or error})"
        raise BadInput(what, f"{host}:{port}", "give another --port, or --host") from None
    # asyncio does it for sockets of its own only; without it an answer's second packet waits 40 ms for the first one's
    # acknowledgement (Nagle's algorithm).
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _explain(model: Servable, address: str, say: object) -> None:
    """How to ask, and what the answers mean."""
    if model.classifies:
        say(f"each answer is a list of probabilities, of: {', '.join(model.classes)}", soft_wrap=True)
    sent = EXAMPLES[model.kind]
    say(f"curl {address} -H 'Content-Type: application/json' -d {sent}", soft_wrap=True)


if __name__ == "__main__":
    command.main(main)
