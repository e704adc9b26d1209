"""Stretches of phases in one pass.

Realms are independent, so a thread runs all phases of a realm while its tiles are in the CPU's cache, and the
threads synchronize once per tick instead of once per phase. With few and large realms, the phases run one at
a time, and the threads share the realms in all work that is done per agent or per tile.

This applies to ``law`` and ``chaos``. In the full game, whose phases are longer, it was not faster, so the
phases run one at a time."""

import functools
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import MIN_SIDE, WorldConfig
from nmmo_gpu.cpu.burial import _burial, burial
from nmmo_gpu.cpu.burial import arguments as burial_arguments
from nmmo_gpu.cpu.combat import _combat, combat
from nmmo_gpu.cpu.combat import arguments as combat_arguments
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.movement import _movement, movement
from nmmo_gpu.cpu.movement import arguments as movement_arguments
from nmmo_gpu.cpu.regrowth import _regrowth, regrowth
from nmmo_gpu.cpu.regrowth import arguments as regrowth_arguments
from nmmo_gpu.cpu.spawning import _spawning, spawning
from nmmo_gpu.cpu.spawning import arguments as spawning_arguments
from nmmo_gpu.cpu.threads import parallel, realm_slices, shared
from nmmo_gpu.cpu.upkeep import _explore, _upkeep, explore, explore_arguments, upkeep
from nmmo_gpu.cpu.upkeep import arguments as upkeep_arguments
from nmmo_gpu.world.backend import Stretch
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import World


@compiled
def _phases(fight, go, spawn, regrow, keep, discover, bury, slots, area, first, last, low, high):
    for r in range(low, high):
        if first <= 0 < last:
            _combat(*fight, r, r + 1)
        if first <= 1 < last:
            _movement(*go, r, r + 1)
        if first <= 2 < last:
            _spawning(*spawn, r, r + 1)
        if first <= 3 < last:
            _regrowth(*regrow, r * area, (r + 1) * area)
        if first <= 4 < last:
            _upkeep(*keep, r * slots, (r + 1) * slots)
        if first <= 5 < last:
            _explore(*discover, r * slots, (r + 1) * slots)
        if first <= 6 < last:
            _burial(*bury, r, r + 1)


NAMES = ("combat", "movement", "spawning", "regrowth", "upkeep", "explore", "burial")
"""The phases that ``_phases`` can run, in order."""
FUNCTIONS: tuple[Callable[..., None], ...] = (combat, movement, spawning, regrowth, upkeep, explore, burial)
ARGUMENTS: tuple[Callable[..., tuple[Any, ...]], ...] = (
    combat_arguments, movement_arguments, spawning_arguments, regrowth_arguments, upkeep_arguments,
    explore_arguments, burial_arguments,
)  # fmt: skip
TAKES: tuple[tuple[str, ...], ...] = (("style", "target"), ("move",), (), (), (), (), ())
"""Heads whose actions each phase takes."""


@cache
def _placeholders() -> tuple[tuple[Any, ...], ...]:
    """Arguments of phases that do not run: of the same types, which are the same for all worlds."""
    maps = torch.zeros(1, MIN_SIDE, MIN_SIDE, dtype=torch.uint8, device="cpu")
    world = empty_world(WorldConfig(height=MIN_SIDE, width=MIN_SIDE, slots=8), maps, 0)
    nothing = torch.zeros_like(world.age)
    return tuple(
        arguments(world, *(nothing for _ in takes)) for arguments, takes in zip(ARGUMENTS, TAKES, strict=True)
    )


def _run(first: int, last: int, world: World, *actions: Tensor) -> None:
    """Runs the phases number ``first`` to ``last`` - 1 of ``NAMES``.

    Args:
        actions: style, target and move; the heads of phases that do not run are missing."""
    cfg = world.config
    if shared(world.realms, cfg.slots):
        given = list(actions)
        for number in range(first, last):
            FUNCTIONS[number](world, *(given.pop(0) for _ in TAKES[number]))
        return
    given = list(actions)
    needed = list(_placeholders())
    for number in range(first, last):
        needed[number] = ARGUMENTS[number](world, *(given.pop(0) for _ in TAKES[number]))
    fixed = (*needed, cfg.slots, cfg.height * cfg.width, first, last)
    parallel(_phases, [(*fixed, *piece) for piece in realm_slices(world.realms)])


def _stretch(first: int, last: int) -> Stretch:
    takes = tuple(name for heads in TAKES[first:last] for name in heads)
    return Stretch(NAMES[first:last], FUNCTIONS[first:last], functools.partial(_run, first, last), takes)


STRETCHES = tuple(
    _stretch(first, last) for first in range(len(NAMES)) for last in range(first + 2, len(NAMES) + 1)
)
"""Every two or more phases that follow each other."""
