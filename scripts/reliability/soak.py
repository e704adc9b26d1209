#!/usr/bin/env python
"""Plays a world for a long time with all invariants checked in every tick, or trains with a recording and two
viewers that follow it, and watches memory and speed.

python scripts/reliability/soak.py play --ticks 100000
python scripts/reliability/soak.py train --minutes 30
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from common import Row, iteration_of, nmmo, start
from websockets.sync.client import connect

import nmmo_gpu
from nmmo_gpu.errors import WorldError

PARTS = 10
"""Parts of the time that are compared."""


@dataclass(frozen=True)
class Play:
    """Plays the full game with random actions."""

    ticks: int = 100_000
    """Number of ticks."""
    realms: int = 1
    """Number of realms."""


@dataclass(frozen=True)
class Train:
    """Trains in the full game, recorded, with two viewers."""

    minutes: float = 30.0
    """Duration."""


def main() -> int:
    options: Any = tyro.cli(
        Annotated[Play, tyro.conf.subcommand("play")] | Annotated[Train, tyro.conf.subcommand("train")]
    )
    row = play(options) if isinstance(options, Play) else train(options)
    print(row)
    return not row.good


def resident(pid: int | str = "self") -> float:
    """Returns the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def play(options: Play) -> Row:
    """Each part's memory at its end, and its rate by processor time, which other work disturbs less."""
    torch.set_num_threads(1)  # one realm is too small for more
    what = f"{options.ticks:,} ticks of full, {options.realms} realm, every invariant checked in every tick"
    env = nmmo_gpu.make("full", realms=options.realms, device="cpu", births=-1, check=True)
    env.reset()
    memory, rates = [], []
    for part in range(PARTS):
        begin, ticks = time.process_time(), options.ticks // PARTS
        try:
            for _ in range(ticks):
                env.step(nmmo_gpu.random_actions(env))
        except WorldError as error:
            return Row(what, 1, str(error), False)
        rates.append(ticks / (time.process_time() - begin))
        memory.append(resident())
        print(f"{(part + 1) * ticks} ticks: {memory[-1]:.0f} MB, {rates[-1]:.0f} ticks/s", flush=True)
    lost = f"no invariant; memory {trend(memory)} MB; ticks per second of processor {trend(rates)}"
    return Row(what, 1, lost, memory[-1] < memory[1] + 16 and rates[-1] > rates[0] / 2)


def trend(values: list[float]) -> str:
    """The first and the second half's medians."""
    half = len(values) // 2
    return f"{statistics.median(values[:half]):.0f} -> {statistics.median(values[half:]):.0f}"


class Viewer(threading.Thread):
    """Follows the recording as the page does."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.messages, self.error = port, 0, ""

    def run(self) -> None:
        name = "realm-0-2.replay"
        try:
            while True:
                with connect(f"ws://127.0.0.1:{self.port}/live?name={name}", max_size=None) as socket:
                    for message in socket:
                        self.messages += 1
                        if isinstance(message, str) and (
                            newer := re.search(r'"next", "name": "(.*?)"', message)
                        ):
                            name = newer[1]
                            break
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"


def train(options: Train) -> Row:
    """Memory of trainer and server, and iterations, in parts of the time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "run")
        trainer = start(nmmo(
            "train", "full", "--minutes", str(options.minutes), "--record", "0", "--record-megabytes", "40",
            "--run", str(folder),
        ))  # fmt: skip
        while not list(folder.glob("replays/*.replay")):
            if trainer.poll() is not None:
                raise RuntimeError(trainer.communicate()[0])
            time.sleep(0.2)
        port = 18_006
        server = start(nmmo("view", str(folder), "--port", str(port), "--no-browser"))
        time.sleep(5)
        viewers = [Viewer(port) for _ in range(2)]
        for viewer in viewers:
            viewer.start()
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(trainer.stdout or ()), daemon=True)
        reader.start()
        memory: list[float] = []
        served: list[float] = []
        while trainer.poll() is None:
            time.sleep(options.minutes * 60 / PARTS / 2)
            if trainer.poll() is None:
                memory.append(resident(trainer.pid))
                served.append(resident(server.pid))
                print(f"{memory[-1]:.0f} MB, server {served[-1]:.0f} MB, {output[-1:]}", flush=True)
        reader.join()
        seen = [viewer.messages for viewer in viewers]
        errors = [viewer.error for viewer in viewers if viewer.error]
        alive = server.poll() is None
        server.terminate()
        rates = [
            float(n) * 1000 ** ("k" in unit) for n, unit in re.findall(r"rate ([\d.]+) (k?)", "".join(output))
        ]
        words = "".join(output)
        good = trainer.returncode == 0 and alive and not errors and min(seen) > 0 and "Warning" not in words
        for sizes in (memory, served):
            good &= sizes[-1] < sizes[len(sizes) // 4] * 1.1
        lost = (
            f"nothing; iteration {iteration_of(folder)}; trainer {trend(memory)} MB, server {trend(served)} "
            f"MB, agent-steps/s {trend(rates)}; messages to viewers {seen} {errors}"
        )
        return Row(f"{options.minutes:g} minutes of training full, recorded, two viewers", 1, lost, good)


if __name__ == "__main__":
    sys.exit(main())
