#!/usr/bin/env python
"""Adds wolves, pelts and leather armor to the game's tables, without a new rule, and plays the result.

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
    npcs=(*STANDARD.npcs, NPCKind(
        "wolf", 6, 2, ("grass", "scrub", "forest"), "provoked", sight=5, aggro_ticks=5,
        drops=(Drop("pelt", 2, 3),), experience=30, number=64,
    )),
)  # fmt: skip


def report(env: Env) -> dict[str, int]:
    """Returns counts of the new content, over all realms so far."""
    world, names = env.world, env.config.world.tables.items
    lives = world.events * world.agents(world.alive)[..., None]
    counts = {
        "wolves killed": int(world.npc_kills[:, -1].sum()),
        # The last columns of events are the kinds of NPCs.
        "wolves killed by agents": int(world.dead_totals[:, -1].sum() + lives[..., -1].sum()),
    }
    for name in ("pelt", "leather armor"):
        item = names.index(name)
        for flow in (Flow.DROPPED, Flow.MADE, Flow.USED):
            counts[f"{name} {flow.name.lower()}"] = int(world.ledger[:, item, flow].sum())
        counts[f"{name} traded"] = int(world.trades[:, item, 0].sum())
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realms", type=int, default=8, help="number of realms")
    parser.add_argument("--ticks", type=int, default=300, help="ticks to play")
    parser.add_argument("--device", default="auto", help="device on which to play")
    options = parser.parse_args()
    try:
        env = make("full", content=WITH_WOLVES, births=-1, spawn="anywhere", check=True,
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
