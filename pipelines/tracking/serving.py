"""MLflow's scoring server for one model, with plain words for what it can't answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR

from data.errors import BadInput, reason

if TYPE_CHECKING:
    import numpy as np
    from fastapi import FastAPI, Request, Response

    from pipelines.serving import Served

LARGEST = 64 * 2**20
"""Bytes of a request: 20,000 images of MNIST as numbers, or some photographs."""

CHARACTERS = 2**27
"""Of a request's longest text, times its values: MLflow makes an array of them that is as wide everywhere, 512 MB."""

PATH = "/invocations"
"""Where MLflow's server answers."""


class Refused(MlflowException):
    """A fault that keeps its words: MLflow would put the whole input before them, and send both back."""

    @property
    def message(self) -> str:
        """What was said first."""
        return self._said

    @message.setter
    def message(self, text: str) -> None:
        self._said = getattr(self, "_said", text)


class Model:
    """What MLflow's server takes for a model of its own, without a signature: that has no place for base64."""

    def __init__(self, served: Served) -> None:
        self.served, self.metadata = served, self

    def get_input_schema(self) -> None:
        """None: what is given is checked by :class:`pipelines.serving.Served`."""

    def predict(self, data: object, params: dict | None = None) -> np.ndarray:
        """See :meth:`pipelines.serving.Served.answer`."""
        try:
            if params:
                raise BadInput("are not known", "params", "leave them out")
            return self.served.answer(data)
        except BadInput as error:
            raise Refused(str(error), BAD_REQUEST) from None
        except Exception as error:
            logging.getLogger(__name__).exception("a request failed")
            raise Refused(f"the model failed ({type(error).__name__})", INTERNAL_ERROR) from None


def app(served: Served) -> FastAPI:
    """The server's application."""
    from mlflow.pyfunc import scoring_server

    logging.getLogger("mlflow.pyfunc.scoring_server").setLevel(logging.ERROR)
    made = scoring_server.init(Model(served))
    made.middleware("http")(_guard)
    return made


async def _guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse what MLflow's server would stumble over, and put its refusals into one sentence."""
    if request.url.path != PATH:
        return await go_on(request)
    status, sentence = _fault(request.headers)
    if sentence:
        return _refusal(sentence, status)
    status, sentence = await asyncio.to_thread(_fault_within, await request.body())
    if sentence:
        return _refusal(sentence, status)
    try:
        response = await go_on(request)
    except RecursionError:  # lists in lists in lists
        return _refusal("the request is nested too deeply; send a list of inputs")
    if response.status_code < 400:
        return response
    return _plainly(response.status_code, b"".join([part async for part in response.body_iterator]))


def _fault(headers: Mapping[str, str]) -> tuple[int, str]:
    """What is wrong with a request by its headers: a status and a sentence, which is empty where nothing is."""
    length, kind = headers.get("content-length", ""), headers.get("content-type", "")
    if not length.isdecimal():
        return 400, "the request does not say how long it is; send a Content-Length"
    if int(length) > LARGEST:
        return 413, f"the request has {int(length):,} bytes; send at most {LARGEST:,} at once"
    if kind.replace(" ", "").lower() not in ("application/json", "application/json;charset=utf-8"):
        return 400, "the request is no JSON; send it as Content-Type: application/json"
    return 200, ""


def _fault_within(body: bytes) -> tuple[int, str]:
    """The same by the values of a list of inputs, of which MLflow makes an array that is not what was sent."""
    try:
        document = json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return 200, ""  # MLflow's server says so
    except ValueError:
        return 400, "the request holds a number of thousands of digits; send texts or pixels"
    waiting = [document.get(key) for key in ("inputs", "instances")] if isinstance(document, dict) else []
    texts = others = longest = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, str):
            texts, longest = texts + 1, max(longest, len(value))
            if value.endswith("\0"):
                return 400, "a text ends in NUL; leave it out"
        elif value is not None:
            others += 1
    if texts and others:
        return 400, "the request mixes texts with other values; send texts or pixels"
    if texts * longest > CHARACTERS:
        return 413, f"one text of {longest:,} characters makes {texts:,} texts too large; send it by itself"
    return 200, ""


def _plainly(status: int, body: bytes) -> Response:
    """MLflow's refusal without what it adds: tracebacks, the input itself, news of its protocol."""
    try:
        text = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    text = text.partition(" IMPORTANT: ")[0].partition("\nInput:")[0]
    return _refusal(reason(Exception(text)), status)


def _refusal(sentence: str, status: int = 400) -> Response:
    from fastapi.responses import JSONResponse

    code = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
    return JSONResponse({"error_code": code, "message": sentence}, status)
