"""Estimates the memory of a training run before any of it is allocated.

A dry run uses tensors on torch's "meta" device, which have shapes but no data, while a dispatch mode adds up
the sizes of their storages. The estimate follows from the code that will run, so it cannot become outdated.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.errors import ConfigError, NmmoError, warn
from nmmo_gpu.train import ppo
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.device import meta_device_allowed
from nmmo_gpu.world.memory import META, Part, meta_world, world_parts
from nmmo_gpu.world.state import World


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of a device's tensors created in this context: ``now`` and ``peak``, in bytes."""

    def __init__(self, device: torch.device = META) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts the storages of its results."""
        result = function(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor) and tensor.device == self.device:
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size

    def rise(self, work: Callable[[], Any]) -> tuple[Any, int, int]:
        """Runs ``work``; returns (result, bytes that stay allocated, additional bytes at the peak)."""
        before, self.peak = self.now, self.now
        result = work()
        return result, self.now - before, self.peak - self.now


def training_parts(config: TrainConfig, sword: type[Sword] = Sword) -> list[Part]:
    """Returns the permanent and temporary allocations of a training run.

    Args:
        config: settings of the run.
        sword: the class of its Sword. If it is not the default one and cannot run without data, as when it
            reads values from the device, this warns, and returns only the parts of the world.
    """
    env = dataclasses.replace(config.env, device="meta")
    # All epochs need the same memory, so one is enough.
    config = dataclasses.replace(config, env=env, ppo=dataclasses.replace(config.ppo, epochs=1))
    with dry_run(env) as (meter, world):
        parts = world_parts(world)
        try:
            return parts + _learner_parts(config, sword, world, meter)
        except RuntimeError as error:
            if sword is Sword or isinstance(error, NmmoError):
                raise
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            warn(f"the memory of {sword.network.__qualname__} cannot be estimated ({cause}).")
            return parts


def _learner_parts(config: TrainConfig, kind: type[Sword], world: World, meter: Meter) -> list[Part]:
    """Returns what is allocated besides the world."""
    sword, weights, _ = meter.rise(lambda: kind(config, META))
    god, stays, passing = meter.rise(lambda: God(config, sword, world))
    pantheon, _, _ = meter.rise(lambda: _brief_pantheon(config, sword))
    rollout, kept, for_collecting = meter.rise(god.collect)

    def learn() -> None:
        with contextlib.suppress(_EnoughError):
            pantheon.learn(rollout, 0.0)

    _, learned, for_learning = meter.rise(learn)
    buffer = sum(tensor.nbytes for tensor in vars(god.rollout).values() if isinstance(tensor, Tensor))
    return [
        Part("observations and workspaces of a tick", stays + passing + kept - buffer),
        Part("rollout", buffer),
        Part("weights and Adam's moments", weights + learned),
        Part("temporary, while collecting a rollout (maximum)", for_collecting),
        Part("temporary, while learning (maximum)", for_learning),
    ]


class _EnoughError(Exception):
    """Ends a dry update."""


def _brief_pantheon(config: TrainConfig, sword: Sword) -> Pantheon:
    """Returns a Pantheon whose update ends at the third minibatch: from the second one on, which has Adam's
    moments and what the one before it left, all need the same memory."""
    calls = itertools.count(1)

    @functools.wraps(ppo.loss)
    def brief(*arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
        if next(calls) > 2:
            raise _EnoughError
        return ppo.loss(*arguments, **named)

    class Brief(Pantheon):
        """Counts the minibatches of one update."""

        loss = staticmethod(brief)

    return Brief(config, sword)


@contextlib.contextmanager
def dry_run(
    config: EnvConfig, instead: Callable[[Any], None] = lambda launch: None
) -> Iterator[tuple[Meter, World]]:
    """A context with a meter and a world on the meta device, in which no kernel is launched.

    This needs Triton, because the rules in torch use sizes that depend on data.

    Args:
        config: the world.
        instead: called with each ``nmmo_gpu.kernels.launch.Launch`` instead of launching it.

    Raises ConfigError if Triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        raise ConfigError("this needs Triton, which is not installed: pip install triton.")
    launch = importlib.import_module("nmmo_gpu.kernels.launch")
    with meta_device_allowed(), Meter() as meter, launch.diverted(instead):
        yield meter, meta_world(config)
