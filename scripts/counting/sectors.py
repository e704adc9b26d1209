#!/usr/bin/env python
"""Counts the memory traffic of each kernel, and prints it in JSON:

    TRITON_INTERPRET=1 python scripts/counting/sectors.py chaos    # a tick; or full, or train

The bytes are counted, not estimated: a tick or a training iteration of a full world runs under Triton's
interpreter, and every 32-byte sector that a launch reads or writes is counted once, which is the memory's
traffic if the caches serve repeated reads within a launch, and nothing across launches. "moved" counts in
pieces of 64 bytes, in which memory is read and written, and adds a read for each sector that is written in
part.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECTOR = 32
"""Bytes of a sector of a GPU's cache."""
PIECE = 64
"""Bytes that memory reads or writes at least."""

REALMS = 8
"""Of the counted worlds."""
FEWER = 4
"""Realms of a second training: from both, the bytes that do not depend on the number of realms follow."""
LARGEST = 16_384
"""Maximum number of slots of the counted realm; larger realms have the same traffic per agent-step."""

PLAYED_TICKS = 150
"""Ticks before the counted one, so that the world is full, with eaten tiles and deaths."""

HORIZON = MINIBATCHES = 2
"""Of the counted training iteration."""

METHODS = ("create_masked_load", "create_masked_store", "create_atomic_rmw", "create_atomic_cas")
"""Those of the interpreter that access memory."""

Traffic = dict[str, dict[str, int]]
"""``kernel -> {"launches", "read", "written", "moved"}``: number of launches, bytes of all launches."""


def start(what: str, slots: int = 128) -> subprocess.Popen[str]:
    """Starts to count in another process, because the interpreter replaces the compiler; see ``result``."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, what, "--slots", str(min(slots, LARGEST))]
    root = str(Path(__file__).resolve().parents[2])
    scripts = str(Path(root) / "scripts")
    environment["PYTHONPATH"] = os.pathsep.join([root, scripts, environment.get("PYTHONPATH", "")])
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Returns what a process of ``start`` has counted.

    Raises CalledProcessError if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    counts: dict[str, Any] = json.loads(output.splitlines()[-1])
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("chaos", "full", "train"))
    parser.add_argument("--slots", type=int, default=128, help="slots per realm; one realm if not 128")
    options = parser.parse_args()
    print(json.dumps(iteration() if options.what == "train" else tick(options.what, options.slots)))


def without_repeats(numbers: Any) -> Any:
    """Returns an array without numbers that equal the one before."""
    import numpy as np

    return numbers[np.concatenate(([True], numbers[1:] != numbers[:-1]))] if len(numbers) else numbers


def distinct(numbers: Any) -> Any:
    """Returns the distinct numbers, sorted; several times faster than ``numpy.unique``, which hashes."""
    import numpy as np

    return without_repeats(np.sort(numbers))


class Counter:
    """Runs launches under the interpreter and counts the bytes that each moves."""

    def __init__(self) -> None:
        self.traffic: Traffic = {}
        self._read: list[Any] = []
        self._written: dict[int, list[Any]] = {}

    def launch(self, launch: Any) -> None:
        """Runs a diverted launch."""
        import numpy as np

        from counting import dense

        if dense.skip(launch):
            return

        self._read, self._written = [], {}
        launch.kernel[(launch.programs,)](*launch.arguments, num_warps=launch.warps, **launch.constants)
        read = distinct(np.concatenate(self._read)) if self._read else np.zeros(0, np.int64)
        starts = {size: distinct(np.concatenate(parts)) for size, parts in self._written.items()}
        written, filled = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if starts:
            of_elements = np.concatenate([places // SECTOR for places in starts.values()])
            sizes = np.concatenate([np.full(len(places), size) for size, places in starts.items()])
            written = distinct(of_elements)
            filled = np.bincount(np.searchsorted(written, of_elements), sizes)
        fetched = distinct(np.concatenate((read, written[filled < SECTOR])))
        row = self.traffic.setdefault(
            launch.kernel.fn.__name__, {"launches": 0, "read": 0, "written": 0, "moved": 0}
        )
        pieces = sum(len(distinct(sectors // (PIECE // SECTOR))) for sectors in (fetched, written))
        row["launches"] += 1
        row["read"] += len(read) * SECTOR
        row["written"] += len(written) * SECTOR
        row["moved"] += pieces * PIECE

    def note(self, pointers: Any, mask: Any, size: int, reads: bool, writes: bool) -> None:
        """Notes an access of ``size`` bytes at each pointer."""
        import numpy as np

        where = np.broadcast_to(pointers.data, np.broadcast_shapes(pointers.data.shape, mask.data.shape))
        where = where[np.broadcast_to(mask.data, where.shape).astype(bool)].astype(np.int64)
        if reads:
            self._read.append(without_repeats(where // SECTOR))
        if writes:
            self._written.setdefault(size, []).append(without_repeats(where))

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Context in which launches of kernels are interpreted, and counted."""
        import triton.runtime.interpreter as interpreter

        from nmmo_gpu.kernels.launch import diverted

        builder = interpreter.InterpreterBuilder
        load, store, atomic, _ = (getattr(builder, name) for name in METHODS)

        def noting_load(built: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
            loaded = load(built, pointers, mask, *rest)
            self.note(pointers, mask, loaded.data.itemsize, True, False)
            return loaded

        def noting_store(built: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            self.note(pointers, mask, value.data.itemsize, False, True)
            return store(built, pointers, value, mask, *rest)

        def noting_atomic(built: Any, kind: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
            self.note(pointers, mask, value.data.itemsize, True, True)
            return atomic(built, kind, pointers, value, mask, *rest)

        def unexpected(*_: Any) -> Any:
            raise NotImplementedError("compare-and-swap is not counted.")

        before = {name: getattr(builder, name) for name in METHODS}
        instead = (noting_load, noting_store, noting_atomic, unexpected)
        try:
            for name, method in zip(METHODS, instead, strict=True):
                setattr(builder, name, method)
            with diverted(self.launch):
                yield
        finally:
            for name, method in before.items():
                setattr(builder, name, method)


def tick(preset: str, slots: int) -> dict[str, Any]:
    """Counts the bytes of each kernel in a tick of a preset.

    Returns ``{"world": description, "agents": living agents, "slots": all slots, "kernels": Traffic}``."""
    import torch

    from nmmo_gpu.env import Env, random_actions

    env = _played(preset, slots)
    config = env.config
    actions = random_actions(env).to(torch.int16)
    kernels = Env(dataclasses.replace(config, backend="triton"), env.world)
    kernels._seen.copy_(env._seen)
    alive = int(env.world.agents(env.world.alive).sum())
    counter = Counter()
    with counter.attached():
        kernels.step(actions)
    world = f"{preset}, {config.realms} realms of {slots}, slots kept full, {alive} living"
    world += f", tick {PLAYED_TICKS + 1}"
    return {"world": world, "agents": alive, "slots": config.realms * slots, "kernels": counter.traffic}


def iteration() -> dict[str, Any]:
    """Counts the bytes of each kernel in a rollout and an update, with the network of scale "gpu".

    Returns ``{"world": description, "horizon": ticks of the rollout, "counts": two of {"samples": slots times
    ticks, "rollout": Traffic, "update": Traffic}}``, of ``REALMS`` and of ``FEWER`` realms."""
    counts = [_iteration(realms) for realms in (REALMS, FEWER)]
    world = f"chaos, {REALMS} and {FEWER} realms of 128, horizon {HORIZON}, {MINIBATCHES} minibatches"
    return {"world": world, "horizon": HORIZON, "counts": counts}


def _iteration(realms: int) -> dict[str, Any]:
    import torch

    from nmmo_gpu.train.presets import train_preset
    from nmmo_gpu.train.trinity import God, Pantheon, Sword

    env = _played("chaos", 128, realms)
    config = train_preset("chaos", "gpu")
    settings = dataclasses.replace(env.config, backend="triton", check_actions=False)
    ppo = dataclasses.replace(config.ppo, horizon=HORIZON, minibatches=MINIBATCHES)
    config = dataclasses.replace(config, env=settings, ppo=ppo)
    counts: dict[str, Any] = {"samples": realms * settings.world.slots * HORIZON}
    counter = Counter()
    with counter.attached():
        sword = Sword(config, torch.device("cpu"))
        god, pantheon = God(config, sword, env.world), Pantheon(config, sword)
        for name, work in (("rollout", god.collect), ("update", lambda: pantheon.learn(god.rollout, 0.0))):
            counter.traffic = counts[name] = {}
            work()
    return counts


def _played(preset: str, slots: int, realms: int = REALMS) -> Any:
    """Returns an environment with slots kept full, after some ticks of random actions."""
    from nmmo_gpu import config as configs
    from nmmo_gpu.benchmarks.bench import with_room
    from nmmo_gpu.env import Env, EnvConfig, random_actions

    config = with_room(configs.preset(preset, births=-1), slots)
    env = Env(EnvConfig(world=config, realms=realms if slots == 128 else 1, device="cpu"))
    env.reset()
    for _ in range(PLAYED_TICKS):
        env.step(random_actions(env))
    return env


if __name__ == "__main__":
    main()
