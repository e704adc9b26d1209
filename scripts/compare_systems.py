#!/usr/bin/env python
"""Shows what the systems of the full game are worth to a trained policy: plays a run's policy as it was
trained, and with one system at a time switched off, beside random agents.

scripts/compare_systems.py runs/full
scripts/compare_systems.py runs/full --json table.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train.evaluate import ECONOMY, Actor, as_v1_ran, economy_row, evaluate, policy_actor
from nmmo_gpu.train.trinity import sword_named

CRAFTS = ("cook", "sword", "knives", "armor")

Bind = Callable[[Env], Actor]


def without(head: str, bind: Bind) -> Bind:
    """The same actor, but that a head's choice is always the first: do nothing."""

    def bound(env: Env) -> Actor:
        act, column = bind(env), list(env.action_heads).index(head)

        def idle(env: Env) -> Tensor:
            actions = act(env).clone()
            actions[..., column] = 0
            return actions

        return idle

    return bound


def variants(env: EnvConfig, bind: Bind) -> dict[str, tuple[EnvConfig, Bind]]:
    """What is played: a world and an actor by name. The layout of observations stays as the policy knows it,
    so a system that is switched off is one in which nothing happens."""
    config = env.world
    no_crafts = tuple(work for work in config.works if work not in CRAFTS)
    nobody = tuple(0 for _ in config.content.npcs)

    def changed(**fields: object) -> EnvConfig:
        return dataclasses.replace(env, world=dataclasses.replace(config, **fields))  # type: ignore[arg-type]

    return {
        "trained": (env, bind),
        "random": (env, lambda env: random_actions),
        "trained, exchange off": (env, without("trade", bind)),
        "trained, NPCs off": (changed(npc_numbers=nobody), bind),
        "trained, crafting off": (changed(works=no_crafts), bind),
        "trained, all work off": (env, without("work", bind)),
        "trained, talk off": (env, without("token", bind)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run of preset full, or its checkpoint")
    parser.add_argument("--realms", type=int, default=32)
    parser.add_argument("--ticks", type=int, default=20_000, help="at most so many are played of each")
    parser.add_argument("--network", help="the run's, if not the stock one: module:Class, or file.py:Class")
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    stored = checkpoint.load(Path(options.run), torch.device("cpu"))
    env = as_v1_ran(stored.config.env, realms=options.realms)
    if not all((env.world.works, env.world.npcs, env.world.exchange, env.world.tokens)):
        parser.error("the run was not made with all systems on; train preset full")
    print(f"{'':22}" + "".join(f"{column:>9}" for column in ("lifetime", *ECONOMY)))
    actor, kept = policy_actor(stored, sword_named(options.network)), {}
    for name, (config, bind) in variants(env, actor).items():
        played = evaluate(config, bind, max_ticks=options.ticks)
        name, *cells = economy_row(name, played)
        print(f"{name:22}" + "".join(f"{cell:>9}" for cell in cells), flush=True)
        kept[name] = {"ticks": played.ticks, **played.summary}
        if options.json:
            Path(options.json).write_text(json.dumps(kept, indent=2) + "\n")
    print("levels: sum over the nine skills; wear: pieces of gear per agent; gold per agent; the others per")
    print("1000 agent-steps: hunted are NPCs, kills agents. One birth a tick, maps not trained on.")


if __name__ == "__main__":
    main()
