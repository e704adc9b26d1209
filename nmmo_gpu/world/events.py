"""What is counted as it happens: events per agent, and the ledger of goods per realm."""

from __future__ import annotations

from enum import IntEnum

from nmmo_gpu.config import WorldConfig


class Event(IntEnum):
    """Columns of ``World.events``. Behind them comes one column per NPC kind: how many of it were killed."""

    ATTACKS = 0
    """Attacks that were rolled, or did flat damage."""
    HITS = 1
    """Those of them that did damage to somebody not immune."""
    DAMAGE = 2
    """Damage that they did, as rolled."""
    AGENTS_KILLED = 3
    """Agents of which this one was the killer."""
    FISHING = 4
    """Ticks spent trying to fish."""
    FISHED = 5
    """Fish caught."""
    MINING = 6
    """Ticks spent trying to mine."""
    MINED = 7
    """Ores won."""
    COOKED = 8
    """Meals cooked."""
    BURNT = 9
    """Meals burnt."""
    SMITHED = 10
    """Pieces, or batches of knives, made."""
    EATEN = 11
    """Meals eaten."""
    OFFERED = 12
    """Offers made."""
    WITHDRAWN = 13
    """Offers withdrawn, or replaced by another."""
    SOLD = 14
    """Offers to sell that were met."""
    BOUGHT = 15
    """Offers to buy that were met."""
    SPOKEN = 16
    """Ticks in which something was said."""
    LEVELS = 17
    """Levels gained, of all skills."""


class Flow(IntEnum):
    """Columns of ``World.ledger``: how goods come into the world, and leave it."""

    MADE = 0
    """Fished, mined, cooked, smithed."""
    DROPPED = 1
    """Left by an NPC, and taken by its killer."""
    INITIAL = 2
    """Held at birth."""
    EATEN = 3
    """Eaten."""
    USED = 4
    """Gone into something made, or thrown."""
    BURNT = 5
    """Burnt while cooking."""
    LOST = 6
    """Left behind by the dead."""


INFLOWS = (Flow.MADE, Flow.DROPPED, Flow.INITIAL)
"""Ways into the world; all others lead out of it."""


def event_names(config: WorldConfig) -> tuple[str, ...]:
    """Names of the columns of ``World.events``."""
    kinds = tuple(f"{kind.name} kills" for kind in config.content.npcs)
    return tuple(event.name.lower().replace("_", " ") for event in Event) + kinds
