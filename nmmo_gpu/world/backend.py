"""Selects the implementation of a tick's phases: plain torch, or a faster one that gives the same bits."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.actions import decode
from nmmo_gpu.world.burial import burial
from nmmo_gpu.world.combat import combat
from nmmo_gpu.world.exchange import exchange, quotes
from nmmo_gpu.world.growth import growth
from nmmo_gpu.world.loot import loot
from nmmo_gpu.world.movement import movement
from nmmo_gpu.world.npc_births import npc_births
from nmmo_gpu.world.npcs import npcs
from nmmo_gpu.world.observation import observe
from nmmo_gpu.world.random import draw
from nmmo_gpu.world.regrowth import regrowth
from nmmo_gpu.world.spawning import spawning
from nmmo_gpu.world.upkeep import explore, upkeep
from nmmo_gpu.world.work import work

Phase = Callable[..., None]


FUSED_PHASES = ("combat", "movement", "spawning", "regrowth", "upkeep", "explore", "burial")
"""The phases that ``Backend.fused`` replaces: all that ``nmmo_gpu.world.tick.step`` calls without the full
game."""


@dataclass(frozen=True)
class Backend:
    """One function per phase, and random draws; the defaults are the reference rules, for any device.

    To replace a phase: ``env.backend = dataclasses.replace(env.backend, regrowth=mine)``. This works with
    every backend; the other phases remain those of the backend."""

    name: str = "torch"
    decode: Callable[..., tuple[Tensor, Tensor, Tensor]] = decode
    npcs: Callable[..., tuple[Tensor, Tensor, Tensor]] = npcs
    combat: Phase = combat
    work: Phase = work
    exchange: Phase = exchange
    movement: Phase = movement
    spawning: Phase = spawning
    npc_births: Phase = npc_births
    regrowth: Phase = regrowth
    upkeep: Phase = upkeep
    explore: Phase = explore
    loot: Phase = loot
    burial: Phase = burial
    growth: Phase = growth
    quotes: Phase = quotes
    observe: Phase = observe
    draw: Callable[..., tuple[Tensor, ...]] = draw
    fused: Phase | None = None
    """All phases of ``nmmo_gpu.world.tick.step`` in one call, ``fused(world, move, style, target)``; not used
    with the full game. None if the backend runs the phases one by one."""
    fused_phases: tuple[Phase, ...] = ()
    """The functions that ``fused`` replaces, in the order of ``FUSED_PHASES``. If a phase is a different
    function, ``fused`` is not called, because it would skip that phase. If empty, set to the phases passed
    together with ``fused``."""

    def __post_init__(self) -> None:
        if self.fused is not None and not self.fused_phases:
            object.__setattr__(self, "fused_phases", self._phases())

    @cached_property
    def whole_tick(self) -> Phase | None:
        """``fused`` if it is equivalent to the phases one by one; None if there is no such function, or if
        one of the phases that it replaces is a custom one."""
        return self.fused if self._phases() == self.fused_phases else None

    def _phases(self) -> tuple[Phase, ...]:
        return tuple(getattr(self, name) for name in FUSED_PHASES)

    @property
    def capturable(self) -> bool:
        """Whether no phase synchronizes with the device, so that calls can be captured in a CUDA graph."""
        return self.name == "triton"


def resolve(backend: str, device: torch.device) -> Backend:
    """Returns the phases of a backend.

    Args:
        backend: "auto", "torch", "numba" or "triton".
        device: device of the world.

    Raises ConfigError if the backend cannot run on the device."""
    if backend == "auto":
        fastest = "numba" if device.type == "cpu" else "triton"
        backend = fastest if _installed(fastest) else "torch"
    if backend == "torch":
        return Backend()
    if backend == "numba":
        _check_numba(device)
        phases: dict[str, Any] = importlib.import_module("nmmo_gpu.cpu").PHASES
    else:
        _check_triton(device)
        phases = importlib.import_module("nmmo_gpu.kernels").PHASES
    return Backend(name=backend, **phases)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _check_numba(device: torch.device) -> None:
    if device.type != "cpu":
        raise ConfigError(
            f'backend = "numba" runs on a CPU, but device = {str(device)!r} is not a CPU; '
            'choose device = "cpu" or another backend.'
        )
    if not _installed("numba"):
        raise ConfigError(
            'backend = "numba" needs numba, which is not installed; run `pip install "nmmo-gpu[cpu]"`, '
            'or choose backend = "torch".'
        )


def _check_triton(device: torch.device) -> None:
    if not _installed("triton"):
        raise ConfigError(
            'backend = "triton" needs Triton, which is not installed; on Linux run `pip install triton`, '
            'on macOS and Windows, where it is not available, choose backend = "auto".'
        )
    launch = importlib.import_module("nmmo_gpu.kernels.launch")
    if device.type == "cpu" and not launch.runs_on_cpu():
        raise ConfigError(
            'backend = "triton" runs on a GPU, but device = "cpu" is not a GPU; choose backend = "auto", or, '
            "to check the kernels on a tiny world, slowly, set the environment variable TRITON_INTERPRET=1."
        )
