"""Keras Tuner's chief and workers: one process has the oracle, others ask it over gRPC, here or on other machines."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import asdict

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.distribute.oracle_client import OracleClient

from data.errors import BadInput
from pipelines.tuning.oracles import WAITING
from pipelines.tuning.trials import OWN, Asked, Result
from pipelines.tuning.worker import Questioned

NAME, IP, PORT = "KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
"""Keras Tuner's own variables: who this process is (a name with chief in it has the oracle), and where the chief is."""

SEARCH, RESULT = f"{OWN}search", f"{OWN}result"
"""Values by which a trial carries what its message has no field for."""

ANY_PORT = 0


def role() -> str:
    """chief, worker, or nothing where Keras Tuner's variables are not set.

    Raises:
        BadInput: some of them are.
    """
    given = [name for name in (NAME, IP, PORT) if os.environ.get(name)]
    if not given:
        return ""
    if len(given) < 3:
        missing = ", ".join(name for name in (NAME, IP, PORT) if name not in given)
        raise BadInput("several workers need all three variables", given[0], f"set {missing} too")
    if not os.environ[PORT].isdecimal():
        raise BadInput("is no number of a port", f"{PORT}={os.environ[PORT]}", "give one from 1024 to 65535")
    return "chief" if "chief" in os.environ[NAME] else "worker"


class Chief(OracleServicer):
    """Answers workers, one at a time."""

    def __init__(self, search: Questioned, facts: Callable[[], Mapping], begin: Callable[[Asked], None]) -> None:
        """Take what is served.

        Args:
            search: has the trials.
            facts: says what workers are given about the search with each trial.
            begin: is told of each trial that a worker is given.
        """
        super().__init__(search)
        self.facts, self.begin = facts, begin
        self.under_way: set[str] = set()
        self.leaving: set[str] = set()
        """Workers that have been told that there is nothing left to do."""
        self.known: set[str] = set()
        self.fault: Exception | None = None

    def CreateTrial(self, request: object, context: object) -> object:  # noqa: N802
        """Answer a worker that asks for a trial."""
        with self._faults():
            self.known.add(request.tuner_id)
            asked = self.oracle.ask(request.tuner_id)
            if asked is None:
                self.leaving.add(request.tuner_id)
                trial = Trial(_carrying({}), "", TrialStatus.STOPPED)
            elif asked is WAITING:
                trial = Trial(_carrying({}), "", TrialStatus.IDLE)
            else:
                self.under_way.add(asked.id)
                self.begin(asked)
                values = {**asked.values, SEARCH: json.dumps(self.facts())}
                trial = Trial(_carrying(values), asked.id, TrialStatus.RUNNING)
            return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def EndTrial(self, request: object, context: object) -> object:  # noqa: N802
        """Take a worker's result."""
        with self._faults():
            trial = Trial.from_proto(request.trial)
            found = Result(**json.loads(trial.hyperparameters.values[RESULT]))
            self.oracle.tell(trial.trial_id, found)
            self.under_way.discard(trial.trial_id)
            return protos.get_service().EndTrialResponse()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Keep what goes wrong for the main thread."""
        try:
            yield
        except Exception as error:
            self.fault = error
            raise

    def is_done(self) -> bool:
        """Whether every worker has heard that there is nothing left to do.

        Raises:
            Exception: what went wrong with an answer.
        """
        if self.fault:
            raise self.fault
        return bool(self.leaving) and self.leaving >= self.known and not self.under_way


@contextmanager
def serving(chief: Chief, ip: str, port: int) -> Iterator[int]:
    """Answer workers in the background; gives the port.

    Raises:
        BadInput: nobody can listen there.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    protos.get_service_grpc().add_OracleServicer_to_server(chief, server)
    try:
        number = server.add_insecure_port(f"{ip}:{port}")
    except RuntimeError:
        raise BadInput("nobody can listen there", f"{ip}:{port}", f"set {IP} and {PORT} to this machine's") from None
    server.start()
    try:
        yield number
    finally:
        server.stop(grace=5).wait()


def wait_for_end(chief: Chief) -> None:
    """Wait until the workers of other machines have nothing left to do."""
    moment = threading.Event()
    while not chief.is_done():
        moment.wait(0.5)


class Client:
    """A worker's way to the chief's oracle, whose address is in Keras Tuner's variables."""

    def __init__(self) -> None:
        self._client = OracleClient(None)

    def ask(self, worker: str) -> Asked | object | None:
        """See :meth:`pipelines.tuning.oracles.Oracle.ask`.

        Raises:
            BadInput: the chief can't be reached.
        """
        with _reached():
            trial = self._client.create_trial(worker)
        if trial.status == TrialStatus.STOPPED:
            return None
        if trial.status == TrialStatus.IDLE:
            return WAITING
        return Asked(trial.trial_id, dict(trial.hyperparameters.values))

    def tell(self, trial: str, found: Result) -> None:
        """See :meth:`pipelines.tuning.oracles.Oracle.tell`.

        Raises:
            BadInput: the chief can't be reached.
        """
        status = TrialStatus.FAILED if found.failure else TrialStatus.COMPLETED
        with _reached():
            self._client.end_trial(Trial(_carrying({RESULT: json.dumps(asdict(found))}), trial, status))


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        where = f"{os.environ[IP]}:{os.environ[PORT]}"
        raise BadInput(f"the chief does not answer ({error.code().name})", where, "see what it says") from None


def facts(asked: Asked) -> dict:
    """What a chief says of its search with a trial."""
    return json.loads(asked.values[SEARCH])


def _carrying(values: Mapping[str, object]) -> keras_tuner.HyperParameters:
    carrying = keras_tuner.HyperParameters()
    carrying.values = dict(values)
    return carrying
