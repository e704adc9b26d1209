#!/usr/bin/env python
"""Kills a training with SIGKILL again and again, at random moments while it saves after every iteration, and
resumes it each time; compares its end with that of the same training without interruption.

python scripts/reliability/kills.py --count 20 --processes 2
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from common import Row, different, iteration_of, kill, nmmo, start, training, wait_for


@dataclass(frozen=True)
class Options:
    """Settings of the measurement."""

    count: int = 20
    """Number of kills."""
    processes: int = 1
    """Processes of the training; more than one are started by torchrun, and all are killed."""
    seed: int = 0
    """Seed of the moments."""


def main() -> int:
    options = tyro.cli(Options)
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        killed, whole = Path(name, "killed"), Path(name, "whole")
        limits = ["--checkpoint-minutes", "0"]
        lost, iterations, unreadable = [], 0, 0
        for number in range(options.count):
            again = nmmo("train", "--resume", str(killed), processes=options.processes)
            fresh = training(killed, *limits, processes=options.processes)
            process = start(again if iterations else fresh)
            seen = wait_for(killed, iterations + 1, process)
            time.sleep(moments.uniform(0.0, 0.3))
            kill(process)
            process.communicate()
            try:
                iterations = iteration_of(killed)
            except Exception as error:
                unreadable += 1
                print(f"kill {number + 1}: {error}")
            lost.append(max(0, seen - iterations))
            print(f"kill {number + 1}: iteration {iterations}", flush=True)
        end = str(iterations + 2)
        for command in (
            nmmo("train", "--resume", str(killed), "--iterations", end, processes=options.processes),
            training(whole, "--iterations", end, "--checkpoint-minutes", "60", processes=options.processes),
        ):
            process = start(command)
            output = process.communicate()[0]
            if process.returncode:
                raise RuntimeError(output)
        differing = different(killed, whole)
        left = [path.name for path in killed.iterdir() if "part" in path.name]
        shards = [path.name for path in killed.glob("*of*")]
        good = not (differing or unreadable or left or any(lost))
        good &= len(shards) == (options.processes if options.processes > 1 else 0)
    words = (
        f"kill -9 of a training of {options.processes} process{'es' * (options.processes > 1)}, then --resume"
    )
    result = f"checkpoints: {unreadable}; saved iterations: {sum(lost)}; tensors that differ at the end: "
    print(Row(words, options.count, result + f"{len(differing)}; files left: {len(left)}", good))
    return not good


if __name__ == "__main__":
    sys.exit(main())
