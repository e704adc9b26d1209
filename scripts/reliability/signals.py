#!/usr/bin/env python
"""Sends each signal that ends jobs to a training, and closes the reader of its output.

python scripts/reliability/signals.py --count 5
"""

from __future__ import annotations

import re
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from common import Row, iteration_of, nmmo, start, training

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "reader gone")


@dataclass(frozen=True)
class Options:
    """Settings of the measurement."""

    count: int = 5
    """How often to try each."""


def main() -> int:
    options, failed = tyro.cli(Options), False
    for name in NAMES:
        good = 0
        if name.startswith("SIG"):  # under nohup, the trainings would inherit that SIGHUP is ignored
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        for number in range(options.count):
            with tempfile.TemporaryDirectory() as folder:
                good += ended_well(name, Path(folder, "run"), number)
        row = Row(
            f"{name} while training",
            options.count,
            f"trainings: {options.count - good}",
            good == options.count,
        )
        failed |= not row.good
        print(row, flush=True)
    return failed


def ended_well(name: str, folder: Path, number: int) -> bool:
    """Whether a training ends by itself, with status 0, a checkpoint of its last iteration and no traceback,
    and can be resumed."""
    limit = ["--iterations", "60"] if name == "reader gone" else []
    process = start(training(folder, "--checkpoint-minutes", "60", *limit))
    assert process.stdout is not None
    while "iteration" not in (line := process.stdout.readline()):
        if not line:
            return False
    time.sleep(0.05 * number)
    if name == "reader gone":
        process.stdout.close()
        output = ""
    else:
        process.send_signal(getattr(signal, name))
        output = process.stdout.read()
    status = process.wait(timeout=120)
    reached = iteration_of(folder)
    told = re.findall(r"iteration (\d+)", output)
    again = start(nmmo("train", "--resume", str(folder), "--iterations", str(reached + 2)))
    words = again.communicate()[0]
    good = status == 0 and again.returncode == 0 and iteration_of(folder) == reached + 2
    good &= "Traceback" not in output + words and (not told or int(told[-1]) == reached)
    if not good:
        print(f"{name}: status {status}, iteration {reached}: {output}{words}")
    return good


if __name__ == "__main__":
    sys.exit(main())
