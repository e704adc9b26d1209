#!/usr/bin/env python
"""Plays a run's trained policy and scripted policies in the same realms, and prints how long each lives.

    scripts/compare_policies.py runs/chaos                          # forager, hunter, random
    scripts/compare_policies.py runs/chaos --against hunter --slots-full

The trained policy plays every other population, its opponent the remaining ones. Maps and random numbers are
not those of the training. A lifetime is agent-steps / deaths, by policy.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu import scripted
from nmmo_gpu.config import EnvConfig
from nmmo_gpu.env import Env
from nmmo_gpu.train import checkpoint
from nmmo_gpu.train.evaluate import Actor, as_v1_ran, policy_actor, slots_kept_full
from nmmo_gpu.train.trinity import trinity_named

WARMUP = 400
"""Ticks before the first counted one, in which the world fills up."""


def lifetimes(
    trained: Callable[[Env], Actor], config: EnvConfig, opponent: str, ticks: int
) -> dict[str, Any]:
    """Measures mean lifetime, agent-steps and deaths of the trained policy and of its opponent.

    Args:
        trained: binds the trained policy to an environment.
        config: the environment; its number of populations is even.
        opponent: name of a scripted policy.
        ticks: number of counted ticks."""
    env = Env(config)
    env.reset()
    players = trained(env), scripted.actor(opponent)(env)
    world = config.world
    population = torch.arange(world.slots, device=env.device) // world.population_size
    plays = [population % 2 == side for side in (0, 1)]
    steps, deaths = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    for tick in range(WARMUP + ticks):
        learned, scripted_actions = (player(env) for player in players)
        alive = env.world.agents(env.world.alive).clone()
        actions: Tensor = torch.where(plays[0][:, None], learned, scripted_actions)
        terminated = env.step(actions)[2]
        if tick >= WARMUP:
            for side, mine in enumerate(plays):
                steps[side] += int((alive & mine).sum())
                deaths[side] += int((terminated & mine).sum())
    names = ("trained", opponent)
    return {
        name: {"lifetime": int(s) / max(1, int(d)), "agent_steps": int(s), "deaths": int(d)}
        for name, s, d in zip(names, steps, deaths, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a run, or its checkpoint")
    parser.add_argument(
        "--against", nargs="+", choices=scripted.POLICIES, default=list(scripted.POLICIES), metavar="POLICY"
    )
    parser.add_argument("--realms", type=int, default=16)
    parser.add_argument("--ticks", type=int, default=1000, help="number of counted ticks")
    parser.add_argument(
        "--slots-full",
        action="store_true",
        help="refill every free slot at once; by default one birth per tick",
    )
    parser.add_argument(
        "--trinity", nargs="+", default=(), help="the run's Sword or network, if custom: file.py:Class"
    )
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    sword = trinity_named(options.trinity).sword
    stored = checkpoint.load(options.run, torch.device("cpu"))
    config = as_v1_ran(stored.config.env, realms=options.realms)
    if config.world.populations % 2:
        parser.error(f"the run has {config.world.populations} populations; an even number is required.")
    if options.slots_full:
        config = slots_kept_full(config)
    print(f"{'opponent':12}{'trained lives':>16}{'opponent lives':>16}")
    found = {}
    for opponent in options.against:
        found[opponent] = lifetimes(policy_actor(stored, sword), config, opponent, options.ticks)
        trained, other = (found[opponent][name]["lifetime"] for name in ("trained", opponent))
        print(f"{opponent:12}{trained:16.1f}{other:16.1f}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
