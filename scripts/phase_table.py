#!/usr/bin/env python
"""Counts the memory traffic of each kernel of a tick and, on a GPU, measures its time.

    python scripts/phase_table.py                        # counts, on any machine
    python scripts/phase_table.py --realms 8192          # on a GPU: times as well

The bytes are counted as in ``counting/sectors.py``. On a GPU, torch's profiler then times the kernels of such
a tick.
"""

from __future__ import annotations

import argparse
import collections
import json

import torch
from counting import sectors
from torch.profiler import ProfilerActivity, profile

from nmmo_gpu.benchmarks.bench import machine, with_room
from nmmo_gpu.config import preset
from nmmo_gpu.env import Env, EnvConfig, random_actions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realms", type=int, default=8192, help="realms of the timed world (GPU only)")
    parser.add_argument("--ticks", type=int, default=20, help="ticks to time (GPU only)")
    parser.add_argument("--bandwidth", type=float, default=4300.0, help="GB/s, used without a GPU")
    parser.add_argument("--slots", type=int, default=128, help="slots per realm; one realm if not 128")
    parser.add_argument("--json", help="file for the results")
    options = parser.parse_args()
    counts = sectors.result(sectors.start("chaos", options.slots))

    times: dict[str, float] = {}
    bandwidth = options.bandwidth
    if torch.cuda.is_available():
        bandwidth = measured_bandwidth()
        times = timed(options.realms, options.slots, options.ticks)
    rows = []
    total: collections.Counter[str] = collections.Counter()
    print(f"{'kernel':16}{'read':>10}{'written':>10}{'floor':>10}{'measured':>10}")
    for name, traffic in counts["kernels"].items():
        read, written = (traffic[key] / counts["agents"] for key in ("read", "written"))
        floor = (read + written) / bandwidth
        row = {"kernel": name, "read": read, "written": written, "floor_ns": floor, "ns": times.get(name)}
        rows.append(row)
        total.update({"read": read, "written": written, "floor": floor, "ns": times.get(name, 0.0)})
        print(f"{name:16}{read:10.1f}{written:10.1f}{floor:10.4f}{shown(times.get(name))}")
    everything = shown(total["ns"] if times else None)
    print(f"{'all':16}{total['read']:10.1f}{total['written']:10.1f}{total['floor']:10.4f}{everything}")
    units = f"bytes per agent-step, in sectors of {sectors.SECTOR}; ns per agent-step"
    print(f"{units}; floor at {bandwidth:,.0f} GB/s")
    if options.json:
        result = {"world": counts["world"], "bandwidth_GBps": bandwidth, "kernels": rows}
        result["machine"] = machine("auto")
        with open(options.json, "w") as file:
            file.write(json.dumps(result, indent=2) + "\n")


def shown(number: float | None) -> str:
    """Formats a cell of the table."""
    return f"{'-':>10}" if number is None else f"{number:10.4f}"


def timed(realms: int, slots: int, ticks: int) -> dict[str, float]:
    """Measures the ns per agent-step of each kernel on the GPU, with the profiler."""
    config = with_room(preset("chaos", births=-1), slots)
    env = Env(EnvConfig(world=config, realms=realms if slots == 128 else 1, device="cuda", shared_map=True))
    env.reset()

    def play(count: int) -> None:
        for _ in range(count):
            env.step(random_actions(env))

    play(sectors.PLAYED_TICKS)
    torch.cuda.synchronize()
    before = int(env.world.acted.sum())
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        play(ticks)
        torch.cuda.synchronize()
    steps = int(env.world.acted.sum()) - before
    return {event.key: event.self_device_time_total * 1000 / steps for event in profiled.key_averages()}


def measured_bandwidth() -> float:
    """Measures the GB/s of a large copy, counting bytes read and written."""
    from triton.testing import do_bench

    source = torch.randint(256, (1 << 32,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    milliseconds: float = do_bench(lambda: target.copy_(source), return_mode="median")
    return 2 * source.numel() / milliseconds / 1e6


if __name__ == "__main__":
    main()
