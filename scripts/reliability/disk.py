#!/usr/bin/env python
"""Fills the disk during each kind of write; the disk is a small file system in memory (Linux, unshare).

python scripts/reliability/disk.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common import Row, iteration_of, nmmo, start, training

MOUNTED = "NMMO_GPU_RELIABILITY_MOUNTS"


def main() -> int:
    if MOUNTED not in os.environ:
        command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, MOUNTED: "1"}).returncode
    failed = False
    for name, check in CHECKS.items():
        if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            lost, good = check(Path(folder))
            for mount in (Path(folder, "run"), *Path(folder, "run").glob("*")):
                subprocess.run(["umount", str(mount)], capture_output=True)
        row = Row(f"disk full: {name}", 1, lost, good)
        failed |= not row.good
        print(row, flush=True)
    return failed


def mount(folder: Path, size: str = "16m") -> Path:
    """Mounts a small file system at a new folder."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    return folder


def fill(folder: Path) -> Path:
    """Takes all room of a folder's file system; returns the file that holds it."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


def run(command: list[str], meanwhile: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Runs a command; calls a function after its first report. Returns status and output."""
    process = start(command)
    assert process.stdout is not None
    first = ""
    while "iteration" not in first and (line := process.stdout.readline()):
        first += line
    meanwhile()
    rest = process.communicate()[0]
    if "Traceback" in first + rest and "tensorboard" not in first + rest:
        return -1, first + rest
    return process.returncode, first + rest


def at_the_start(folder: Path) -> tuple[str, bool]:
    place = mount(folder / "run")
    fill(place)
    status, output = run(training(place / "new", "--iterations", "3"))
    return "nothing: refused", status == 2 and "cannot be written (No space left" in output


def by_part(part: str) -> Callable[[Path], tuple[str, bool]]:
    """The folder of a part of a run on a disk of its own, which is full after the first report."""

    def check(folder: Path) -> tuple[str, bool]:
        place = mount(folder / "run" / part)
        command = training(folder / "run", "--iterations", "200", "--record", "0")
        status, output = run(command, partial(fill, place))
        reached = iteration_of(folder / "run")
        lost = {"tensorboard": "curves while it is full", "replays": "the recording"}[part]
        return lost, status == 0 and reached == 200 and "No space left" in output

    return check


def checkpoints_for_a_while(folder: Path) -> tuple[str, bool]:
    place = mount(folder / "run")

    def meanwhile() -> None:
        ballast = fill(place)
        time.sleep(2)
        ballast.unlink()

    status, output = run(training(place, "--iterations", "400", "--checkpoint-minutes", "0"), meanwhile)
    good = status == 0 and iteration_of(place) == 400 and "saving is tried again" in output
    if not good:
        print(status, output)
    return "curves while it is full", good


def last_checkpoint(folder: Path) -> tuple[str, bool]:
    place = mount(folder / "run")
    command = training(place, "--iterations", "200", "--checkpoint-minutes", "60")
    status, output = run(command, partial(fill, place))
    found = output.split("Saved in ")
    if status or len(found) < 2:
        return output, False
    elsewhere = Path(found[1].split()[0])
    reached = iteration_of(elsewhere)
    shutil.rmtree(elsewhere)
    return "curves while it is full (the checkpoint is in a temporary folder)", reached == 200


def other_files(folder: Path) -> tuple[str, bool]:
    """Export, play and bench: status 2 and a message; a file that exists keeps its contents."""
    run_folder = folder / "trained"
    if run(training(run_folder, "--iterations", "2"))[0]:
        return "training failed", False
    place = mount(folder / "run")
    old = {place / "old.replay": b"a", place / "old.json": b"b"}
    for path, data in old.items():
        path.write_bytes(data)
    fill(place)
    commands = [
        nmmo("export", str(run_folder), "--out", str(place / "old.replay"), "--ticks", "40"),
        nmmo("play", "chaos", "--ticks", "9", "--out", str(place / "out")),
        nmmo(
            "bench", "chaos", "--batches", "1", "--columns", "environment", "--json", str(place / "old.json")
        ),
    ]
    good = True
    for command in commands:
        status, output = run(command)
        if status != 2 or "No space left" not in output:
            good = False
            print(command, status, output)
    return "nothing", good and all(path.read_bytes() == data for path, data in old.items())


CHECKS: dict[str, Callable[[Path], tuple[str, bool]]] = {
    "before the start": at_the_start,
    "TensorBoard's files": by_part("tensorboard"),
    "recordings": by_part("replays"),
    "checkpoints, for two seconds": checkpoints_for_a_while,
    "last checkpoint": last_checkpoint,
    "export, play and bench": other_files,
}

if __name__ == "__main__":
    sys.exit(main())
