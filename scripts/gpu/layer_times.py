#!/usr/bin/env python
"""Time of the hidden layers of the GPU network: each layer as one kernel, and with products of the library.

    python scripts/gpu/layer_times.py [--json FILE]

Figures are ns per sample. ``nmmo_gpu.kernels.train.tiles.FUSED`` says which one is used on a target; the last
line says which one was faster here. Both must agree up to rounding.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.benchmarks.bench import machine
from nmmo_gpu.kernels.train.fused_layers import fused_layers
from nmmo_gpu.kernels.train.library_layers import library_layers
from nmmo_gpu.kernels.train.tiles import FUSED, target_of
from nmmo_gpu.train.presets import train_preset

KINDS = {"fused": fused_layers, "library": library_layers}
CALLS = 20
ROUNDING = 0.1
"""Largest relative difference of results, by norm."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry", action="store_true", help="on a CPU, with a tiny network")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = train_preset("chaos", "gpu")
    populations, hidden, layers = config.env.world.populations, config.policy.hidden, config.policy.layers
    rows = config.ppo.horizon * config.env.realms * config.env.world.population_size // config.ppo.minibatches
    device = torch.device("cpu" if options.dry else "cuda")
    if options.dry:
        populations, rows, hidden, layers = 2, 40, 16, 3
    random = torch.Generator(device="cpu").manual_seed(1)

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        values = torch.randn(shape, generator=random, dtype=torch.float32, device="cpu") * scale
        return values.to(device, torch.bfloat16)

    total = drawn(populations, rows, hidden)
    matrices = [drawn(populations, hidden, hidden, scale=(2 / hidden) ** 0.5) for _ in range(layers)]
    biases = [drawn(populations, 1, hidden, scale=0.1) for _ in range(layers)]
    upstream = drawn(populations, rows, hidden)
    parts = [total, *matrices, *biases]

    def rollout(kind: Callable[..., Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return [kind(total, matrices, biases)]

    def update(kind: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [part.detach().requires_grad_() for part in parts]
        torch.autograd.backward(kind(leaves[0], leaves[1 : 1 + layers], leaves[1 + layers :]), upstream)
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    samples, calls = populations * rows, 1 if options.dry else CALLS
    result: dict[str, Any] = {"unit": "ns per sample", "machine": machine(device.type), "times": {}}
    for title, work in (("rollout", rollout), ("update", update)):
        outputs = {name: work(kind) for name, kind in KINDS.items()}
        for one, other in zip(*outputs.values(), strict=True):
            difference = float((one.double() - other.double()).norm() / other.double().norm())
            if not difference < ROUNDING:
                raise SystemExit(f"{title}: fused and library results differ by {difference:.3f}")
        del outputs
        times = {name: measured(work, kind, calls) * 1e9 / samples for name, kind in KINDS.items()}
        result["times"][title] = times
        print(f"{title:10}" + "".join(f"{name:>10} {took:8.3f}" for name, took in times.items()))
    sums = {name: sum(times[name] for times in result["times"].values()) for name in KINDS}
    target = target_of(device)
    used = "fused" if FUSED[target] else "library"
    print(f"{target}: {min(sums, key=sums.__getitem__)} is faster; {used} is used")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def measured(work: Callable[..., Any], kind: Callable[..., Tensor], calls: int) -> float:
    """Returns the seconds of a call."""
    work(kind)
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        work(kind)
    wait()
    return (time.perf_counter() - start) / calls


def wait() -> None:
    """Waits until the GPU has done all work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
