#!/usr/bin/env python
"""Counts the memory traffic of each kernel of a tick and, on a GPU, measures its time.

    python scripts/phase_table.py                        # counts, on any machine
    python scripts/phase_table.py --realms 8192          # on a GPU: times as well

The bytes are counted, not estimated: a tick of a full world runs under Triton's interpreter, and every
32-byte sector that a launch reads or writes is counted once, which is the memory's traffic if the caches
work ideally. On a GPU, torch's profiler then times the kernels of such a tick.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
from typing import Any

SECTOR = 32
"""Bytes per memory transaction of a GPU."""

COUNTED_REALMS = 8
COUNTED_SLOTS = 16_384
"""Maximum number of slots of the counted realm; larger realms have the same traffic per agent-step."""

PLAYED_TICKS = 150
"""Ticks before the counted one, so that the world is full, with eaten tiles and deaths."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realms", type=int, default=8192, help="realms of the timed world (GPU only)")
    parser.add_argument("--ticks", type=int, default=20, help="ticks to time (GPU only)")
    parser.add_argument("--bandwidth", type=float, default=4300.0, help="GB/s, used without a GPU")
    parser.add_argument("--slots", type=int, default=128, help="slots per realm; one realm if not 128")
    parser.add_argument("--json", help="file for the results")
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        print(json.dumps(counted(options.slots)))
        return
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--count", "--slots", str(min(options.slots, COUNTED_SLOTS))]
    report = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    counts = json.loads(report.splitlines()[-1])

    import torch

    times: dict[str, float] = {}
    bandwidth = options.bandwidth
    if torch.cuda.is_available():
        bandwidth = measured_bandwidth()
        times = timed(options.realms, options.slots, options.ticks)
    rows = []
    total: collections.Counter[str] = collections.Counter()
    print(f"{'kernel':16}{'read':>10}{'written':>10}{'floor':>10}{'measured':>10}")
    for name, (read, written) in counts["kernels"].items():
        floor = (read + written) / bandwidth
        row = {"kernel": name, "read": read, "written": written, "floor_ns": floor, "ns": times.get(name)}
        rows.append(row)
        total.update({"read": read, "written": written, "floor": floor, "ns": times.get(name, 0.0)})
        print(f"{name:16}{read:10.1f}{written:10.1f}{floor:10.4f}{shown(times.get(name))}")
    everything = shown(total["ns"] if times else None)
    print(f"{'all':16}{total['read']:10.1f}{total['written']:10.1f}{total['floor']:10.4f}{everything}")
    print(f"bytes per agent-step, in sectors of {SECTOR}; ns per agent-step; floor at {bandwidth:,.0f} GB/s")
    if options.json:
        from nmmo_gpu.benchmarks.bench import machine

        result = {"world": counts["world"], "bandwidth_GBps": bandwidth, "kernels": rows}
        result["machine"] = machine("auto")
        with open(options.json, "w") as file:
            file.write(json.dumps(result, indent=2) + "\n")


def shown(number: float | None) -> str:
    """Formats a cell of the table."""
    return f"{'-':>10}" if number is None else f"{number:10.4f}"


def counted(slots: int) -> dict[str, Any]:
    """Counts the bytes per agent-step of each kernel, in a tick under the interpreter."""
    import numpy as np
    import torch
    import triton.runtime.interpreter as interpreter

    from nmmo_gpu.benchmarks.bench import with_room
    from nmmo_gpu.config import preset
    from nmmo_gpu.env import Env, EnvConfig, random_actions
    from nmmo_gpu.kernels import launch as launching

    touched: dict[str, tuple[set[int], set[int]]] = {}
    current = ""

    def note(pointers: Any, mask: Any, size: int, which: tuple[int, ...]) -> None:
        where = np.broadcast_to(pointers.data, np.broadcast_shapes(pointers.data.shape, mask.data.shape))
        where = where[np.broadcast_to(mask.data, where.shape).astype(bool)]
        for kind in which:
            touched[current][kind].update((where // SECTOR).tolist())
            touched[current][kind].update(((where + size - 1) // SECTOR).tolist())

    builder = interpreter.InterpreterBuilder
    load, store, atomic = builder.create_masked_load, builder.create_masked_store, builder.create_atomic_rmw

    def noting_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        result = load(self, pointers, mask, *rest)
        note(pointers, mask, result.data.itemsize, (0,))
        return result

    def noting_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        note(pointers, mask, value.data.itemsize, (1,))
        return store(self, pointers, value, mask, *rest)

    def noting_atomic(self: Any, kind: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        note(pointers, mask, value.data.itemsize, (0, 1))
        return atomic(self, kind, pointers, value, mask, *rest)

    config = with_room(preset("chaos", births=-1), slots)
    realms = COUNTED_REALMS if slots == 128 else 1
    env = Env(EnvConfig(world=config, realms=realms, device="cpu"))
    env.reset()
    for _ in range(PLAYED_TICKS):
        env.step(random_actions(env))
    actions = random_actions(env).to(torch.int16)
    kernels = Env(EnvConfig(world=config, realms=realms, device="cpu", backend="triton"), env.world)
    kernels._seen.copy_(env._seen)
    alive = int(env.world.alive.sum())

    builder.create_masked_load, builder.create_masked_store = noting_load, noting_store
    builder.create_atomic_rmw = noting_atomic
    plain = launching.launch

    def named(kernel: Any, *arguments: Any, **more: Any) -> None:
        nonlocal current
        current = kernel.fn.__name__
        touched.setdefault(current, (set(), set()))
        plain(kernel, *arguments, **more)

    for module in list(sys.modules.values()):
        if getattr(module, "launch", None) is plain:
            module.launch = named  # type: ignore[attr-defined]
    kernels.step(actions)
    per_agent = {
        name: [len(read) * SECTOR / alive, len(written) * SECTOR / alive]
        for name, (read, written) in touched.items()
    }
    world = f"chaos, {realms} realms of {slots}, slots kept full, {alive} living, tick {PLAYED_TICKS + 1}"
    return {"world": world, "kernels": per_agent}


def timed(realms: int, slots: int, ticks: int) -> dict[str, float]:
    """Measures the ns per agent-step of each kernel on the GPU, with the profiler."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from nmmo_gpu.benchmarks.bench import with_room
    from nmmo_gpu.config import preset
    from nmmo_gpu.env import Env, EnvConfig, random_actions

    config = with_room(preset("chaos", births=-1), slots)
    env = Env(EnvConfig(world=config, realms=realms if slots == 128 else 1, device="cuda", shared_map=True))
    env.reset()

    def play(count: int) -> None:
        for _ in range(count):
            env.step(random_actions(env))

    play(PLAYED_TICKS)
    torch.cuda.synchronize()
    before = int(env.world.acted.sum())
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        play(ticks)
        torch.cuda.synchronize()
    steps = int(env.world.acted.sum()) - before
    return {event.key: event.self_device_time_total * 1000 / steps for event in profiled.key_averages()}


def measured_bandwidth() -> float:
    """Measures the GB/s of a large copy, counting bytes read and written."""
    import torch
    from triton.testing import do_bench

    source = torch.randint(256, (1 << 32,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    milliseconds: float = do_bench(lambda: target.copy_(source), return_mode="median")
    return 2 * source.numel() / milliseconds / 1e6


if __name__ == "__main__":
    main()
