#!/usr/bin/env python
"""Time of each kernel by torch's profiler, with the predictions of docs/benchmarks/predicted-h100.json:

    python scripts/gpu/kernel_times.py env --realms 8192      # a tick
    python scripts/gpu/kernel_times.py train --realms 2048    # a rollout and an update, replayed
    python scripts/gpu/kernel_times.py play --realms 2048     # only plays ticks, for another profiler

All figures are ns per slot and tick, empty slots included.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tiny import tiny
from torch.profiler import ProfilerActivity, profile

from nmmo_gpu.benchmarks.bench import machine
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.run import Run

PREDICTED = Path(__file__).parents[2] / "docs" / "benchmarks" / "predicted-h100.json"
SHOWN = 22
"""Number of kernels in a printed table."""
PLAYED, TIMED = 150, 10
"""Number of ticks before the first timed one, in which the world fills up, and of timed ticks."""

GROUPS = (
    ("inputs", r"^_encode"),
    ("element-wise", r"^_bias_relu|^_gather_sum|^_loss"),
    ("matrix products", r"^_layer"),
    ("environment, choice, tally", r"^_[a-z]"),
    ("matrix products", r"gemm|gemv|cutlass|cublas|nvjet|xmma|sgemm|splitK"),
    ("element-wise", r"elementwise|vectorized|addcmul|multi_tensor|FillFunctor|CatArray"),
    ("others", r""),
)
"""Names and patterns of groups of kernels; the first match counts."""


class Table(NamedTuple):
    """Times of kernels, ns per slot and tick."""

    whole: float
    """Total time, measured without the profiler."""
    kernels: dict[str, float]
    """Time by kernel name, in descending order."""
    launches: int
    """Number of launches."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("env", "train", "play"))
    parser.add_argument("--preset", default="chaos")
    parser.add_argument("--realms", type=int, default=2048)
    parser.add_argument("--dry", action="store_true", help="on a CPU, with a tiny world")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = train_preset(options.preset, "gpu")
    world = dataclasses.replace(config.env.world, births=-1)
    env = dataclasses.replace(config.env, world=world, device="cuda", realms=options.realms, shared_map=True)
    config = dataclasses.replace(config, env=env, iterations=1 << 30)
    if options.dry:
        config = tiny(config)
    predicted = json.loads(PREDICTED.read_text())
    played, timed = (2, 1) if options.dry else (PLAYED, TIMED)
    if options.what == "train":
        tables = iterations(config)
    else:
        tables = ticks(config, played, timed if options.what == "env" else 0)
    for title, table in tables.items():
        show(title, table, predicted["environment"]["kernels"])
    result: dict[str, Any] = {
        "unit": "ns per slot and tick", "preset": options.preset, "realms": config.env.realms,
        "slots": config.env.world.slots, "machine": machine(config.env.device),
        "tables": {title: table._asdict() for title, table in tables.items()},
    }  # fmt: skip
    if options.what == "train":
        result["groups"] = grouped(tables)
        print(f"{'group':28}{'measured':>10}{'predicted':>11}")
        for name, took in result["groups"].items():
            expected = predicted["training"]["groups"].get(name)
            print(f"{name:28}{took:10.2f}" + (f"{expected:11.2f}" if expected is not None else ""))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def ticks(config: TrainConfig, played: int, timed: int) -> dict[str, Table]:
    """Plays ``played`` ticks with random actions, then times ``timed`` ticks, if any."""
    env = Env(dataclasses.replace(config.env, check_actions=False))
    env.reset()

    def play(count: int) -> None:
        for _ in range(count):
            env.step(random_actions(env), out=env.records)

    play(played)
    if timed == 0:
        return {}
    slots = env.config.realms * env.config.world.slots
    return {"environment": measured(lambda: play(timed), slots * timed, env.device)}


def iterations(config: TrainConfig) -> dict[str, Table]:
    """Times a replayed rollout and a replayed update."""
    run = Run(config)
    for _ in range(4):  # two ordinary iterations, the captures, and a replay
        run.iterate()
    slots = config.env.realms * config.env.world.slots * config.ppo.horizon
    return {
        "rollout": measured(run.god.collect, slots, run.device),
        "update": measured(lambda: run.pantheon.learn(run.god.rollout, 0.0), slots, run.device),
    }


def measured(work: Callable[[], Any], samples: int, device: torch.device) -> Table:
    """Times a function without the profiler, then with it."""
    on_gpu = device.type == "cuda"

    def wait() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    start = wait()
    work()
    whole = wait() - start
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        work()
        wait()
    events = seen.key_averages()
    times = {e.key: e.self_device_time_total if on_gpu else e.self_cpu_time_total for e in events}
    kernels = {key: times[key] * 1e3 / samples for key in sorted(times, key=times.__getitem__, reverse=True)}
    return Table(whole * 1e9 / samples, kernels, sum(event.count for event in events))


def show(title: str, table: Table, predicted: dict[str, float]) -> None:
    """Prints a table."""
    total = sum(table.kernels.values())
    print(f"{title}: {table.whole:.3f}, of which {total:.3f} in {table.launches} kernels")
    for key, took in list(table.kernels.items())[:SHOWN]:
        expected = f"{predicted[key]:9.4f}" if key in predicted else " " * 9
        print(f"  {took:9.4f} {expected}  {key[:80]}")


def grouped(tables: dict[str, Table]) -> dict[str, float]:
    """Returns the ns by group of kernels, summed over all tables."""
    sums = dict.fromkeys((name for name, _ in GROUPS), 0.0)
    for table in tables.values():
        for key, took in table.kernels.items():
            sums[next(name for name, mark in GROUPS if re.search(mark, key))] += took
    return sums


if __name__ == "__main__":
    main()
