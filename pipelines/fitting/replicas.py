"""Several devices that train one network together: each has a copy of it and takes an equal part of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import keras

from data.errors import BadInput, reason

HOSTS = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
"""Environment variable that names the first host, or all, where several train together; Keras reads it, and
KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID."""


@dataclass(frozen=True)
class Replicas:
    """What a training is spread over."""

    scope: Callable[[], AbstractContextManager] = nullcontext
    """In which networks and optimizers are made and fitted."""
    count: int = 1
    """Devices, of all hosts."""
    there: int = 1
    """Devices that there are; some are left out where a batch can't be split evenly among all."""
    process: int = 0
    """Number of this host."""
    processes: int = 1
    """Hosts."""

    def make(self, build: Callable[[], keras.Model]) -> keras.Model:
        """A network with a copy on each device; its normalizations see whole batches, as on JAX they do anyway."""
        with self.scope():
            network = build()
        if self.count > 1 and keras.backend.backend() == "tensorflow":
            for layer in network._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
        return network

    def settle(self, network: keras.Model, batch: Callable[[], tuple]) -> None:
        """Make the variables of metrics and optimizer before a network is fitted, where devices would race for it.

        Keras (3.15, on TensorFlow) does it with the first batch of the stream, which is then lost to the training.

        Args:
            network: compiled.
            batch: gives any one.
        """
        if self.count > 1 and keras.backend.backend() == "tensorflow":
            type(network)._maybe_symbolic_build(network, data_batch=batch())
            network._maybe_symbolic_build = lambda **_: None

    def part(self, batch: tuple) -> tuple:
        """What this host contributes to a batch: an equal part, or all of one that can't be split."""
        size = len(batch[0])
        if self.processes == 1 or size % self.count:
            return batch
        share = size // self.processes
        return tuple(array[self.process * share :][:share] for array in batch)

    def describe(self) -> str:
        """In words, empty for a single device."""
        if self.there == 1:
            return ""
        if self.count < self.there:
            return f"{self.count} of {self.there} devices, since more can't share each batch evenly"
        return f"{self.count} devices" + (f" on {self.processes} hosts" if self.processes > 1 else "")


def meet() -> None:
    """Wait for the other hosts, where the environment names some; before the backend computes anything.

    Raises:
        BadInput: the backend is not JAX, or the hosts do not meet as they are named.
    """
    if HOSTS not in os.environ:
        return
    if keras.backend.backend() != "jax":
        raise BadInput("several hosts train together on JAX only", HOSTS, "set KERAS_BACKEND=jax, or unset it")
    import jax

    if jax.distributed.is_initialized():
        return
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError, TypeError) as error:
        do = "set it, KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID on each host"
        raise BadInput(f"the hosts do not meet ({reason(error)})", HOSTS, do) from None


def follows() -> bool:
    """Whether this process only computes its part of what the first host records."""
    return _place()[0] > 0


def refuse_hosts(what: str) -> None:
    """Refuse what one host does alone.

    Raises:
        BadInput: the environment names several.
    """
    if HOSTS in os.environ:
        raise BadInput(f"{what} run on one host", HOSTS, "unset it")


def gather(batch_size: int, validated: int) -> Replicas:
    """All devices of this machine, or of all hosts, that can split a batch evenly.

    Args:
        batch_size: examples of a training batch.
        validated: examples for validation; where there are some, each device takes one at least.

    Raises:
        BadInput: several hosts can't split it among all their devices.
    """
    names = _names()
    process, processes = _place()
    most = min(len(names), validated or batch_size)
    count = max(number for number in range(1, most + 1) if batch_size % number == 0)
    if processes > 1 and count < len(names):
        what = f"batches of {batch_size} can't be split evenly among {len(names)} devices on {processes} hosts"
        raise BadInput(what, "--batch-size", f"give a multiple of {len(names)}")
    if count == 1:
        return Replicas(there=len(names))
    return Replicas(_scope(tuple(names[:count])), count, len(names), process, processes)


def _names() -> list[str]:
    """The devices that computations run on, as the backend names them; one where it does not split batches."""
    backend = keras.backend.backend()
    if backend == "jax":
        return keras.distribution.list_devices()
    if backend == "tensorflow":
        import tensorflow as tf

        logical = tf.config.list_logical_devices
        return [device.name for device in logical("GPU") or logical("CPU")]
    return ["the device"]


def _place() -> tuple[int, int]:
    """The number of this host, and how many there are."""
    if keras.backend.backend() != "jax" or HOSTS not in os.environ:
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


@cache
def _scope(names: tuple[str, ...]) -> Callable[[], AbstractContextManager]:
    """Made once: two of TensorFlow's strategies on the same devices get in each other's way."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.MirroredStrategy([*names]).scope

    class EvenParts(keras.distribution.DataParallel):
        """Where a batch can't be split evenly, as the odd one of validation, each device takes all of it."""

        def get_data_layout(self, data_shape: tuple[int, ...]) -> keras.distribution.TensorLayout:
            if data_shape[0] % len(names) == 0:
                return super().get_data_layout(data_shape)
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)

    return EvenParts(devices=[*names], auto_shard_dataset=False).scope
