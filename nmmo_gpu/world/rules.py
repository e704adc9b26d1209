"""Who runs the phases of a tick: the rules in plain torch, or their faster twins with the same bits."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.burial import burial
from nmmo_gpu.world.combat import combat
from nmmo_gpu.world.movement import movement
from nmmo_gpu.world.observation import observe
from nmmo_gpu.world.random import draw
from nmmo_gpu.world.regrowth import regrowth
from nmmo_gpu.world.spawning import spawning
from nmmo_gpu.world.upkeep import explore, upkeep

Phase = Callable[..., None]


@dataclass(frozen=True)
class Rules:
    """One function per phase, and random draws; the defaults are the rules themselves, on any device."""

    name: str = "torch"
    combat: Phase = combat
    movement: Phase = movement
    spawning: Phase = spawning
    regrowth: Phase = regrowth
    upkeep: Phase = upkeep
    explore: Phase = explore
    burial: Phase = burial
    observe: Phase = observe
    draw: Callable[..., tuple[Tensor, ...]] = draw
    fused: Phase | None = None
    """All phases but ``observe`` in one call, ``fused(world, move, style, target)``, for who can do better
    than one after the other."""


def resolve(backend: str, device: torch.device) -> Rules:
    """The phases for a backend ("auto", "torch", "numba") on a device.

    Raises ConfigError where the backend cannot run, and says what to change."""
    has_numba = importlib.util.find_spec("numba") is not None
    if backend == "auto":
        backend = "numba" if device.type == "cpu" and has_numba else "torch"
    if backend == "torch":
        return Rules()
    if device.type != "cpu":
        raise ConfigError(
            f'backend = "numba" runs on a CPU, and device = {str(device)!r} is none; '
            'choose device = "cpu" or another backend.'
        )
    if not has_numba:
        raise ConfigError(
            'backend = "numba" needs numba, which is not installed; run `pip install "nmmo-gpu[cpu]"`, '
            'or choose backend = "torch".'
        )
    phases: dict[str, Any] = importlib.import_module("nmmo_gpu.cpu").PHASES
    return Rules(name="numba", **phases)
