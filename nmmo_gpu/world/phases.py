"""The phases of a tick, in the order of docs/rules.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.world.burial import burial
from nmmo_gpu.world.combat import combat
from nmmo_gpu.world.exchange import exchange, quotes
from nmmo_gpu.world.growth import growth
from nmmo_gpu.world.loot import loot
from nmmo_gpu.world.movement import movement
from nmmo_gpu.world.npc_births import npc_births
from nmmo_gpu.world.npcs import npcs
from nmmo_gpu.world.regrowth import regrowth
from nmmo_gpu.world.spawning import spawning
from nmmo_gpu.world.state import World
from nmmo_gpu.world.talk import talk
from nmmo_gpu.world.upkeep import explore, upkeep
from nmmo_gpu.world.work import work

PhaseFunction = Callable[..., Any]


@dataclass(frozen=True)
class Phase:
    """One phase of a tick."""

    name: str
    """Name of the phase; a backend's twin is its field of this name."""
    run: PhaseFunction
    """The rule in torch, ``run(world, *actions)``. If it returns a tuple, that replaces the actions."""
    takes: tuple[str, ...] = ()
    """Heads whose actions it takes."""
    when: Callable[[WorldConfig], bool] = lambda config: True
    """Whether the phase runs under these rules."""


def start(world: World) -> None:
    """Counts the agents that act in this tick, and clears the causes of death of the last one."""
    world.acted += world.agents(world.alive).sum(1)
    world.cause.zero_()


PHASES = (
    Phase("start", start),
    Phase("talk", talk, ("token",), lambda config: config.tokens > 0),
    Phase("npcs", npcs, ("move", "style", "target"), lambda config: config.npc_slots > 0),
    Phase("combat", combat, ("style", "target")),
    Phase("work", work, ("work",), lambda config: bool(config.works)),
    Phase("exchange", exchange, ("trade", "price"), lambda config: config.exchange),
    Phase("movement", movement, ("move",)),
    Phase("spawning", spawning),
    Phase("npc_births", npc_births, (), lambda config: config.npc_slots > 0),
    Phase("regrowth", regrowth),
    Phase("upkeep", upkeep),
    Phase("explore", explore),
    Phase("loot", loot, (), lambda config: config.extended),
    Phase("burial", burial),
    Phase("growth", growth, (), lambda config: config.extended),
    Phase("quotes", quotes, (), lambda config: config.exchange),
)
"""All phases of the rules. Systems add phases before, after or instead of one of them, also of one that is
off."""
