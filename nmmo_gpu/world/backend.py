"""Selects the implementation of a tick's phases: plain torch, or a faster one that gives the same bits."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config.systems import Words
from nmmo_gpu.content.hashing import hash_once
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.actions import decode
from nmmo_gpu.world.observation import observe
from nmmo_gpu.world.phases import PHASES, PhaseFunction
from nmmo_gpu.world.random import draw
from nmmo_gpu.world.terrain import fill

RULES = {phase.name: phase.run for phase in PHASES}


@dataclass(frozen=True)
class Stretch:
    """Consecutive phases that a backend runs in one call."""

    names: tuple[str, ...]
    """Names of the phases."""
    functions: tuple[PhaseFunction, ...]
    """The functions that ``run`` replaces. The stretch is used only where all phases of the tick are these
    functions, so a phase that a user replaces or adds interrupts it."""
    run: PhaseFunction
    """``run(world, *actions)``."""
    takes: tuple[str, ...]
    """Heads whose actions ``run`` takes."""


@hash_once
@dataclass(frozen=True)
class Backend:
    """One function per phase, random draws and terrain; the defaults are the reference rules, for any device.

    To replace a phase: ``env.backend = dataclasses.replace(env.backend, regrowth=mine)``. This works with
    every backend; the other phases remain those of the backend."""

    name: str = "torch"
    decode: Callable[..., tuple[Tensor, Tensor, Tensor]] = decode
    start: PhaseFunction = RULES["start"]
    talk: PhaseFunction = RULES["talk"]
    npcs: PhaseFunction = RULES["npcs"]
    combat: PhaseFunction = RULES["combat"]
    work: PhaseFunction = RULES["work"]
    exchange: PhaseFunction = RULES["exchange"]
    movement: PhaseFunction = RULES["movement"]
    spawning: PhaseFunction = RULES["spawning"]
    npc_births: PhaseFunction = RULES["npc_births"]
    regrowth: PhaseFunction = RULES["regrowth"]
    upkeep: PhaseFunction = RULES["upkeep"]
    explore: PhaseFunction = RULES["explore"]
    loot: PhaseFunction = RULES["loot"]
    burial: PhaseFunction = RULES["burial"]
    growth: PhaseFunction = RULES["growth"]
    quotes: PhaseFunction = RULES["quotes"]
    observe: PhaseFunction = observe
    draw: Callable[..., Words] = draw
    terrain: Callable[[Tensor, int, int, int], None] = fill
    stretches: tuple[Stretch, ...] = ()
    """Stretches of phases that run faster together; not used with the full game."""

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
        package = importlib.import_module("nmmo_gpu.cpu")
    else:
        _check_triton(device)
        package = importlib.import_module("nmmo_gpu.kernels")
    return Backend(name=backend, **package.PHASES, stretches=package.STRETCHES)


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
