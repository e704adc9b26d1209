#!/usr/bin/env python
"""Shows what the systems of the full game are worth to a trained policy.

Plays a run's policy as it was trained, then with one system at a time switched off, and random agents.

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
from nmmo_gpu.train.trinity import trinity_named

CRAFTS = ("cook", "sword", "knives", "armor")

Bind = Callable[[Env], Actor]


def without(head: str, bind: Bind) -> Bind:
    """Returns the same actor with one head's choice always the first: do nothing."""

    def bound(env: Env) -> Actor:
        act, column = bind(env), list(env.action_heads).index(head)

        def idle(env: Env) -> Tensor:
            actions = act(env).clone()
            actions[..., column] = 0
            return actions

        return idle

    return bound


def variants(env: EnvConfig, bind: Bind) -> dict[str, tuple[EnvConfig, Bind]]:
    """Returns the worlds and actors to play, by name.

    The layout of the observations must not change, so a system is disabled by preventing its actions."""
    config = env.world
    no_crafts = tuple(work for work in config.works if work not in CRAFTS)
    no_npcs = tuple(0 for _ in config.content.npcs)

    def changed(**fields: object) -> EnvConfig:
        return dataclasses.replace(env, world=dataclasses.replace(config, **fields))  # type: ignore[arg-type]

    return {
        "trained": (env, bind),
        "random": (env, lambda env: random_actions),
        "trained, exchange off": (env, without("trade", bind)),
        "trained, NPCs off": (changed(npc_numbers=no_npcs), bind),
        "trained, crafting off": (changed(works=no_crafts), bind),
        "trained, all work off": (env, without("work", bind)),
        "trained, talk off": (env, without("token", bind)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run of preset full, or its checkpoint")
    parser.add_argument("--realms", type=int, default=32)
    parser.add_argument("--ticks", type=int, default=20_000, help="maximum number of ticks per row")
    parser.add_argument(
        "--trinity", nargs="+", default=(), help="the run's Sword or network, if custom: file.py:Class"
    )
    parser.add_argument("--json", help="file for the results")
    options = parser.parse_args()
    stored = checkpoint.load(Path(options.run), torch.device("cpu"))
    env = as_v1_ran(stored.config.env, realms=options.realms)
    if not all((env.world.works, env.world.npcs, env.world.exchange, env.world.tokens)):
        parser.error("the run was not trained with all systems on; train preset full")
    print(f"{'':22}" + "".join(f"{column:>9}" for column in ("lifetime", *ECONOMY)))
    actor, results = policy_actor(stored, trinity_named(options.trinity).sword), {}
    for name, (config, bind) in variants(env, actor).items():
        evaluation = evaluate(config, bind, max_ticks=options.ticks)
        name, *cells = economy_row(name, evaluation)
        print(f"{name:22}" + "".join(f"{cell:>9}" for cell in cells), flush=True)
        results[name] = {"ticks": evaluation.ticks, **evaluation.summary}
        if options.json:
            Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    print("levels: sum over the nine skills; wear: pieces of gear per agent; gold per agent; others per 1000")
    print("agent-steps: hunted counts NPCs, kills agents. One birth per tick, maps not trained on.")


if __name__ == "__main__":
    main()
