#!/usr/bin/env python
"""Plays each scripted policy in its own worlds, and prints how long its agents live.

examples/scripted.py full
"""

import argparse

from nmmo_gpu.config import PRESETS, EnvConfig, preset
from nmmo_gpu.scripted import POLICIES, actor
from nmmo_gpu.train.evaluate import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="chaos", choices=PRESETS)
    parser.add_argument("--realms", type=int, default=8, help="number of worlds")
    parser.add_argument("--side", type=int, default=80, help="height and width of a map, tiles")
    parser.add_argument("--slots", type=int, default=128, help="maximum number of agents in a world")
    parser.add_argument("--ticks", type=int, default=2000, help="maximum number of ticks per policy")
    parser.add_argument("--backend", default="auto", help="auto, torch, numba or triton")
    options = parser.parse_args()

    config = preset(options.preset, height=options.side, width=options.side, slots=options.slots, births=1)
    env = EnvConfig(world=config, realms=options.realms, backend=options.backend)
    print(f"{options.preset}: mean lifetime in ticks, agents alive per world, share of deaths in combat")
    for name in POLICIES:
        result = evaluate(env, actor(name), options.ticks, warmup=min(200, options.ticks // 4))
        summary = result.summary
        print(
            f"{name:8} {result.lifetime:8.1f} {summary['population/alive per realm']:8.1f} "
            f"{100 * summary.get('deaths/combat', 0.0):6.1f} %"
        )


if __name__ == "__main__":
    main()
