"""What the measurements of reliability share: a small training in processes of its own, and a table row."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

from nmmo_gpu.train import checkpoint as checkpoints

SMALL = (
    "--realms 4 --slots 16 --height 40 --width 40 --horizon 8 --epochs 1 --minibatches 2 --hidden 16 "
    "--births -1 --log-every 1 --device cpu --learning-rate 0.003 --final-learning-rate 0.003"
)
"""A world small enough for an iteration in a few hundredths of a second. The learning rate is constant, so
that a run with another limit learns the same."""


class Row(NamedTuple):
    """A line of the table in docs/reliability.md."""

    what: str
    """What was tried."""
    times: int
    """How often."""
    lost: str
    """What was lost."""
    good: bool
    """Whether everything went as it is promised."""

    def __str__(self) -> str:
        return f"| {self.what} | {self.times} | {self.lost} |" + ("" if self.good else " **NOT AS PROMISED**")


def nmmo(*arguments: str, processes: int = 1) -> list[str]:
    """Returns a command of nmmo-gpu, started by torchrun for several processes."""
    if processes == 1:
        return [sys.executable, "-m", "nmmo_gpu", *arguments]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    return [*torchrun, str(processes), "-m", "--", "nmmo_gpu", *arguments]


def training(folder: Path, *options: str, processes: int = 1) -> list[str]:
    """Returns the command of a small new training; see ``SMALL``."""
    return nmmo("train", "chaos", *SMALL.split(), "--run", str(folder), *options, processes=processes)


def start(command: list[str]) -> subprocess.Popen[str]:
    """Starts a command in a process group of its own, with its output in a pipe."""
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def kill(process: subprocess.Popen[str]) -> None:
    """Kills a process and all that it has started, at once; torchrun's have process groups of their own."""
    everyone = [process.pid]
    for pid in everyone:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                everyone += map(int, (task / "children").read_text().split())
    for pid in everyone:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def iteration_of(folder: Path) -> int:
    """Returns the iteration of a run's checkpoint, which is read as a whole; 0 if there is none."""
    if not (folder / checkpoints.FILE).exists():
        return 0
    return int(checkpoints.load(folder, torch.device("cpu")).counters["iteration"])


def wait_for(folder: Path, iteration: int, process: subprocess.Popen[str], seconds: float = 120) -> int:
    """Waits until a run's checkpoint has reached an iteration; returns the one that it has.

    Raises RuntimeError with the output if the process ends earlier."""
    deadline = time.monotonic() + seconds
    while (reached := iteration_of(folder)) < iteration:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(process.communicate()[0])
        time.sleep(0.02)
    return reached


def different(first: Path, second: Path) -> list[str]:
    """Returns the names of the tensors in which two runs' checkpoints differ.

    Counts of the tally are left out: reports reset them, and a run that was interrupted has made others."""
    states = [checkpoints.load(folder, torch.device("cpu")).tensors for folder in (first, second)]
    names = sorted(states[0].keys() | states[1].keys())
    kept = [name for name in names if not name.startswith("god.tally")]
    return [
        name
        for name in kept
        if any(name not in state for state in states) or not torch.equal(states[0][name], states[1][name])
    ]
