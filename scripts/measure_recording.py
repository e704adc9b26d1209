#!/usr/bin/env python
"""Measures the cost of recording: alternates iterations of the same training with and without it, and counts
the bytes per tick.

python scripts/measure_recording.py chaos --iterations 20 --births -1 --json recording.json
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from nmmo_gpu.benchmarks.bench import machine
from nmmo_gpu.config import PRESETS
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.presets import SCALES, train_preset
from nmmo_gpu.train.run import Run

WARM_UP = 4
"""Iterations before the first counted one, in which kernels are compiled and graphs are captured."""


@dataclass(frozen=True)
class Options:
    """Settings of the measurement."""

    preset: Annotated[str, tyro.conf.Positional] = "chaos"
    """The rules."""
    scale: str = "laptop"
    """laptop or gpu."""
    iterations: int = 20
    """Number of iterations of each kind."""
    realms: int | None = None
    """Number of realms; by default the preset's."""
    births: int | None = None
    """Births per tick; by default the preset's; -1 keeps the slots full."""
    device: str = "auto"
    """Device on which to train."""
    json: str | None = None
    """File for the result."""


def main() -> int:
    options = tyro.cli(Options)
    if options.preset not in PRESETS or options.scale not in SCALES:
        print(f"choose a preset of {', '.join(PRESETS)} and a scale of {', '.join(SCALES)}.", file=sys.stderr)
        return 2
    try:
        result = measure(options)
    except NmmoError as error:
        print(error, file=sys.stderr)
        return 2
    for name in ("all", "policy left out"):
        row = result[name]
        print(
            f"recording, {name}: {row['cost']:+.1%} (quartiles {row['quartiles'][0]:+.1%} to "
            f"{row['quartiles'][1]:+.1%}), {row['bytes per tick']:,.0f} bytes per tick"
        )
    print(f"{result['seconds per iteration']:.3f} s per iteration without recording")
    if options.json:
        Path(options.json).write_text(
            json.dumps(result | {"machine": machine(result["device"])}, indent=2) + "\n"
        )
    return 0


def measure(options: Options) -> dict[str, Any]:
    """Returns the costs as shares of the time of an iteration without recording, median and quartiles."""
    config = train_preset(options.preset, options.scale)
    changes: dict[str, Any] = {"device": options.device}
    if options.realms is not None:
        changes["realms"] = options.realms
    if options.births is not None:
        changes["world"] = dataclasses.replace(config.env.world, births=options.births)
    config = dataclasses.replace(config, env=dataclasses.replace(config.env, **changes), iterations=1 << 30)
    kinds: dict[str, dict[str, Any]] = {
        "none": {}, "all": {"record": (0,)}, "policy left out": {"record": (0,), "record_policy": False},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        # The seed is the same, so all kinds have the same worlds and weights, and the same work.
        runs = {
            kind: Run(dataclasses.replace(config, run=f"{folder}/{place}", **settings))
            for place, (kind, settings) in enumerate(kinds.items())
        }
        seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for iteration in range(WARM_UP + options.iterations):
            # The order rotates, so that a slow phase of the machine does not always affect the same kind.
            for kind in sorted(kinds, key=lambda k: (list(kinds).index(k) + iteration) % len(kinds)):
                before = runs[kind].seconds
                runs[kind].iterate()
                runs[kind].synchronize()
                if iteration >= WARM_UP:
                    seconds[kind].append(runs[kind].seconds - before)
        result: dict[str, Any] = {
            "preset": options.preset, "scale": options.scale, "realms": config.env.realms,
            "slots": config.env.world.slots, "births": config.env.world.births,
            "horizon": config.ppo.horizon, "iterations": options.iterations,
            "device": str(runs["none"].device), "seconds per iteration": statistics.median(seconds["none"]),
        }  # fmt: skip
        for kind, run in runs.items():
            run.close()
            if run.god.recorder is not None:
                result[kind] = _row(seconds[kind], seconds["none"], run.config)
    return result


def _row(recorded: list[float], plain: list[float], config: TrainConfig) -> dict[str, Any]:
    shares = sorted(a / b - 1 for a, b in zip(recorded, plain, strict=True))
    quarter = len(shares) // 4
    (file,) = (Path(config.run) / "replays").iterdir()
    ticks = (WARM_UP + len(recorded)) * config.ppo.horizon
    return {
        "cost": statistics.median(shares),
        "quartiles": [shares[quarter], shares[-1 - quarter]],
        "bytes per tick": file.stat().st_size / ticks,
    }


if __name__ == "__main__":
    sys.exit(main())
