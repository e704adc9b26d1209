#!/usr/bin/env python
"""Adds wolves, their pelts and what is made of these to the game, and plays: rows of tables, and no rule.

python scripts/add_content.py --realms 8 --ticks 300
"""

import argparse
import dataclasses
import sys

from nmmo_gpu.content import STANDARD, Drop, Item, NPCKind, Recipe
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.world.events import Flow

WITH_WOLVES = dataclasses.replace(
    STANDARD,
    items=(*STANDARD.items, Item("pelt"), Item("leather armor", "armor", level=3, defense=70)),
    recipes=(*STANDARD.recipes, Recipe("armor", "smithing", 1, 50, "leather armor", 1, "pelt", 2)),
    npcs=(*STANDARD.npcs, NPCKind("wolf", 6, 2, ("grass", "scrub", "forest"), "provoked", sight=5,
    aggro_ticks=5,
                                  drops=(Drop("pelt", 2, 3),), experience=30, number=64)),
)  # fmt: skip


def report(env: Env) -> dict[str, int]:
    """What became of the new things, in all realms so far."""
    world, names = env.world, env.config.world.tables.items
    lives = world.events * world.agents(world.alive)[..., None]
    counts = {
        "wolves npc_kills": int(world.npc_kills[:, -1].sum()),
        # Events end with a column for each kind of NPC.
        "of them by an agent": int(world.dead_totals[:, -1].sum() + lives[..., -1].sum()),
    }
    for name in ("pelt", "leather armor"):
        item = names.index(name)
        for way in (Flow.DROPPED, Flow.MADE, Flow.USED):
            counts[f"{name} {way.name.lower()}"] = int(world.ledger[:, item, way].sum())
        counts[f"{name} traded"] = int(world.trades[:, item, 0].sum())
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realms", type=int, default=8, help="realms to play at a time")
    parser.add_argument("--ticks", type=int, default=300, help="ticks to play")
    parser.add_argument("--device", default="auto", help="where to play")
    options = parser.parse_args()
    try:
        env = make("full", content=WITH_WOLVES, births=-1, spawn="anywhere", check_ledger=True,
                   realms=options.realms, device=options.device)  # fmt: skip
        env.reset()
        for _ in range(options.ticks):
            env.step(random_actions(env))
    except NmmoError as error:
        print(error, file=sys.stderr)
        return 2
    for what, count in report(env).items():
        print(f"{count:8}  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
