#!/usr/bin/env python
"""Measures the time per agent-step in realms of increasing size, at a constant density of agents.

python scripts/measure_scaling.py --json scaling.json

The rules are those of preset chaos, with births anywhere on the map, into every free slot at once. The
measured work is that of the column "environment" of `nmmo-gpu bench`: generate random actions, and run a step
that writes all observations. In addition to the wall time, the processor time of this process is reported,
which depends less on other processes.
"""

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import nmmo_gpu  # noqa: F401  (before torch, because it configures OpenMP)

# isort: split
import torch

from nmmo_gpu.benchmarks.bench import machine
from nmmo_gpu.env import Env, make
from nmmo_gpu.errors import NmmoError

WARM_UP = 40
"""Ticks before the first timed one; by then the first generation has died, and ages are mixed."""


def begin(agents: int, options: argparse.Namespace) -> Env:
    """Creates square realms with ``agents`` slots and ``options.tiles`` tiles per slot."""
    side = round(math.sqrt(options.tiles * agents))
    env = make(
        "chaos", height=side, width=side, slots=agents, births=-1, spawn="anywhere", realms=options.realms,
        seed=options.seed, device=options.device, backend=options.backend, check_actions=False,
    )  # fmt: skip
    env.reset()
    play(env, WARM_UP)
    return env


def play(env: Env, ticks: int) -> tuple[float, float, int]:
    """Plays ticks with random actions; returns (wall seconds, processor seconds, agent-steps)."""
    shape = env.world.alive.shape
    before = int(env.world.acted.sum())
    start, busy = time.perf_counter(), time.process_time()
    for _ in range(ticks):
        actions = torch.stack([torch.randint(n, shape, device=env.device) for n in env.action_sizes], -1)
        env.step(actions)
    after = int(env.world.acted.sum())  # waits for a GPU
    return time.perf_counter() - start, time.process_time() - busy, after - before


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns a row per size. The sizes alternate, so that other load on the machine affects all equally."""
    envs = [begin(agents, options) for agents in options.agents]
    runs: list[list[tuple[float, float]]] = [[] for _ in envs]
    for _ in range(options.repeats):
        for env, found in zip(envs, runs, strict=True):
            once = play(env, 1)[0]
            seconds, busy, steps = play(env, max(1, round(options.seconds / once)))
            found.append((1e6 * seconds / steps, 1e6 * busy / steps))
    rows: list[dict[str, Any]] = []
    for env, found in zip(envs, runs, strict=True):
        times, processors = zip(*found, strict=True)
        middle, busy = statistics.median(times), statistics.median(processors)
        rows.append(
            {
                "agents": env.config.world.slots,
                "side": env.config.world.width,
                "alive": float(env.world.alive.float().mean()),
                "us per agent-step": middle,
                "min": min(times),
                "max": max(times),
                "ratio": middle / (rows[0]["us per agent-step"] if rows else middle),
                "us of processors": busy,
                "ratio of processors": busy / (rows[0]["us of processors"] if rows else busy),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[1 << k for k in range(10, 18)])
    parser.add_argument("--tiles", type=float, default=64.0, help="tiles of the map per agent")
    parser.add_argument("--realms", type=int, default=1, help="number of realms")
    parser.add_argument("--repeats", type=int, default=9, help="number of timed runs; the median is reported")
    parser.add_argument("--seconds", type=float, default=0.5, help="approximate duration of a timed run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", type=Path, help="file for the results, with hardware and versions")
    options = parser.parse_args()
    try:
        rows = measure(options)
    except NmmoError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"{'agents':>9}{'side':>7}{'alive':>8}{'us per agent-step':>20}{'min':>8}{'max':>8}{'ratio':>8}"
        f"{'us of processors':>19}{'ratio':>8}"
    )
    for row in rows:
        print(
            f"{row['agents']:9,}{row['side']:7,}{100 * row['alive']:7.1f}%{row['us per agent-step']:20.3f}"
            f"{row['min']:8.3f}{row['max']:8.3f}{row['ratio']:8.2f}"
            f"{row['us of processors']:19.3f}{row['ratio of processors']:8.2f}"
        )
    if options.json is not None:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        result = {"settings": settings, "machine": machine(options.device), "results": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
