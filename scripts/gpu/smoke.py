#!/usr/bin/env python
"""Checks to run on a GPU before any measurement: worlds equal those of plain torch on a CPU bit for bit, and
trainings are captured in CUDA graphs and stay finite. All parts run, even if one fails.

    python scripts/gpu/smoke.py [PART ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import tiny, tiny_env

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.run import Run

TICKS, ITERATIONS = 30, 5
"""Ticks over which worlds are compared; iterations of a training: two ordinary ones, the capture, replays."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="substrings of the names of the parts to run; default all")
    parser.add_argument("--dry", action="store_true", help="on a CPU, with tiny worlds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    for name, part in PARTS.items():
        if options.parts and not any(piece in name for piece in options.parts):
            continue
        start = time.perf_counter()
        try:
            good, message = part(options.dry)
        except Exception as error:  # the other parts still run
            traceback.print_exc()
            good, message = False, f"{type(error).__name__}: {str(error)[:300]}"
        seconds = time.perf_counter() - start
        results.append({"part": name, "good": good, "message": message, "seconds": seconds})
        print(f"{name}: {'' if good else 'FAILED, '}{message} [{seconds:.1f} s]", flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if results and all(result["good"] for result in results) else 1


def parity(name: str, **overrides: Any) -> Callable[[bool], tuple[bool, str]]:
    """Compares a world on the GPU with the same world in torch on the CPU, tick by tick."""

    def part(dry: bool) -> tuple[bool, str]:
        on_gpu = EnvConfig(world=preset(name, **overrides), realms=2, device="cuda", backend="triton")
        on_gpu = tiny_env(on_gpu) if dry else on_gpu
        reference = dataclasses.replace(on_gpu, device="cpu", backend="torch")
        return compared(Env(reference), Env(on_gpu), 2 if dry else TICKS)

    return part


def compared(reference: Env, tested: Env, ticks: int) -> tuple[bool, str]:
    """Returns whether two environments stay equal under random actions, and a message."""
    same_maps = torch.equal(reference.world.base, tested.world.base.to(reference.device))
    for name in ("base", "material", "shore"):  # so that a difference in terrain does not hide others
        getattr(tested.world, name).copy_(getattr(reference.world, name))
    reference.reset()
    tested.reset()
    for tick in range(1, ticks + 1):
        actions = random_actions(reference)
        if not torch.equal(random_actions(tested).to(reference.device), actions):
            return False, f"random actions differ at tick {tick}"
        _, reward, died, _, _ = reference.step(actions)
        _, tested_reward, tested_died, _, _ = tested.step(actions.to(tested.device))
        pairs = {
            name: (a, b)
            for (name, a), (_, b) in zip(reference.world.tensors(), tested.world.tensors(), strict=True)
        }
        pairs |= {"records": (reference.records, tested.records), "reward": (reward, tested_reward)}
        pairs["terminated"] = (died, tested_died)
        wrong = [name for name, (a, b) in pairs.items() if not torch.equal(a, b.to(a.device))]
        if wrong:
            return False, f"these differ after tick {tick}: {', '.join(wrong)}"
    return same_maps, f"{ticks} ticks, the same bits; terrain {'the same' if same_maps else 'DIFFERS'}"


def training(name: str, scale: str, realms: int, **policy: Any) -> Callable[[bool], tuple[bool, str]]:
    """Trains for a few iterations."""

    def part(dry: bool) -> tuple[bool, str]:
        config = train_preset(name, scale)
        # Slots are kept full, so that rollouts and updates have one size, and are captured in the third.
        world = dataclasses.replace(config.env.world, births=-1)
        config = dataclasses.replace(
            config, env=dataclasses.replace(config.env, world=world, device="cuda", realms=realms),
            policy=dataclasses.replace(config.policy, **policy), iterations=1 << 30,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            return trained(
                dataclasses.replace(tiny(config) if dry else config, run=folder), 1 if dry else ITERATIONS
            )

    return part


def trained(config: TrainConfig, iterations: int) -> tuple[bool, str]:
    """Returns whether a run is captured (on a GPU) and finite in statistics and weights, and a message."""
    run = Run(config)
    on_gpu, seconds = run.device.type == "cuda", []
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    stats = []
    for _ in range(iterations):
        start = time.perf_counter()
        stats += run.iterate()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    last = (stats + run.synchronize())[-1]
    updates = [update for update in run.pantheon.updates.values() if update.graph is not None]
    captured = any(play.graph is not None for play in run.god.plays.values()) and bool(updates)
    tensors = [*last.statistics.values(), *run.sword.policy.parameters()]
    finite = all(bool(tensor.isfinite().all()) for tensor in tensors)
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0
    message = (
        f"captured {captured}, finite {finite}, kl {float(last.statistics['kl'].mean()):.4f}, "
        f"peak {peak:.2f} GiB, seconds {' '.join(f'{s:.2f}' for s in seconds)}"
    )
    run.close()
    return captured == on_gpu and finite, message


PARTS = {
    "worlds of chaos": parity("chaos", births=-1),
    "worlds of chaos, several blocks": parity("chaos", slots=400, births=3, spawn="anywhere"),
    "worlds of full": parity("full", births=-1),
    "training chaos, GPU network": training("chaos", "gpu", 16),
    "training chaos, laptop network": training("chaos", "laptop", 64),
    "training full, GPU network": training("full", "gpu", 16),
    "training with memory": training("chaos", "laptop", 16, recurrent=True, targeting="learned"),
}

if __name__ == "__main__":
    sys.exit(main())
