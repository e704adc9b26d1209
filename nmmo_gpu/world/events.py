"""Counts: events per agent, and the ledger of goods per realm."""

from __future__ import annotations

from enum import IntEnum

from nmmo_gpu.config import WorldConfig


class Event(IntEnum):
    """Columns of ``World.events``. After them comes one column per NPC kind: the number of kills."""

    ATTACKS = 0
    """Attacks that were rolled, or did flat damage."""
    HITS = 1
    """Attacks that did damage to a target that was not immune."""
    DAMAGE = 2
    """Damage of these attacks, as rolled."""
    AGENTS_KILLED = 3
    """Agents killed by this one."""
    FISHING = 4
    """Ticks spent trying to fish."""
    FISHED = 5
    """Fish caught."""
    MINING = 6
    """Ticks spent trying to mine."""
    MINED = 7
    """Ores mined."""
    COOKED = 8
    """Meals cooked."""
    BURNT = 9
    """Meals burnt."""
    SMITHED = 10
    """Items, or batches of knives, smithed."""
    EATEN = 11
    """Meals eaten."""
    OFFERED = 12
    """Offers made."""
    WITHDRAWN = 13
    """Offers withdrawn, or replaced by another."""
    SOLD = 14
    """Sell offers that were matched."""
    BOUGHT = 15
    """Buy offers that were matched."""
    SPOKEN = 16
    """Ticks in which the agent said a token other than silence."""
    LEVELS = 17
    """Levels gained, in all skills."""


class Flow(IntEnum):
    """Columns of ``World.ledger``: how goods enter and leave the world."""

    MADE = 0
    """Fished, mined, cooked, smithed."""
    DROPPED = 1
    """Dropped by an NPC, and taken by its killer."""
    INITIAL = 2
    """Held at birth, or given by ``Env.intervene``."""
    EATEN = 3
    """Eaten."""
    USED = 4
    """Consumed by crafting, or thrown."""
    BURNT = 5
    """Burnt while cooking."""
    LOST = 6
    """Lost at death, above the limit of a stack, or taken by ``Env.intervene``."""


INFLOWS = (Flow.MADE, Flow.DROPPED, Flow.INITIAL)
"""Flows into the world; all others lead out of it."""


def event_names(config: WorldConfig) -> tuple[str, ...]:
    """Names of the columns of ``World.events``."""
    kinds = tuple(f"{kind.name} kills" for kind in config.content.npcs)
    return tuple(event.name.lower().replace("_", " ") for event in Event) + kinds
