#!/usr/bin/env python
"""Reads damaged files of each kind that nmmo-gpu reads, and counts what it says of them.

Each file is damaged by accidents to its bytes, or written well-formed with other contents. It must be refused
with the error of its kind, or read; nothing else may happen.

python scripts/reliability/damage.py --count 1000
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import torch
import tyro
from common import Row, start, training

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from support import damaged_files  # type: ignore[import-not-found]
from support.damage import damaged  # type: ignore[import-not-found]

from nmmo_gpu.config.serialize import from_plain, parse_json
from nmmo_gpu.cpu import compilation_cache
from nmmo_gpu.cpu.compilation_cache import CompilationCache
from nmmo_gpu.errors import CheckpointError, ConfigError, MapError, NmmoError, ReplayError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.tiled import load_tmx


@dataclass(frozen=True)
class Options:
    """Settings of the measurement."""

    count: int = 1000
    """Damaged files of each kind."""
    seed: int = 0
    """Seed of the damage."""


def main() -> int:
    options, failed = tyro.cli(Options), False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, (path, copies, read, error) in kinds(folder, options).items():
            failed |= not measured(kind, path, copies, read, error)
    return failed


Kind = tuple[Path, Iterator[tuple[str, bytes]], Callable[[Path], object], type[Exception]]


def kinds(folder: Path, options: Options) -> dict[str, Kind]:
    """Returns for each kind of file: where to write, damaged copies, a function that reads, and its error."""
    process = start(training(folder / "run", "--iterations", "2"))
    output = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(output)
    checkpoint = folder / "run" / checkpoints.FILE
    count, seed = options.count, options.seed

    def double(x: int) -> int:
        return 2 * x

    loop: Any = numba.njit(double)
    loop._cache = CompilationCache(double, folder / "cache")
    loop(4)
    sound = next((folder / "cache").iterdir()).read_bytes()
    copies = damaged_files.damaged_cache_files(sound, count, seed)
    return {
        "checkpoints": (
            folder / "c.safetensors", damaged(checkpoint, count, seed),
            lambda path: checkpoints.load(path, torch.device("cpu")), CheckpointError,
        ),
        "recordings": (
            folder / "r.replay", damaged_files.damaged_recordings(count, seed), read_recording, ReplayError,
        ),
        "maps": (folder / "m.tmx", damaged_files.damaged_maps(count, seed), load_tmx, MapError),
        "configs": (
            folder / "c.json", damaged_files.damaged_configs(count, seed),
            lambda path: from_plain(TrainConfig, parse_json(path.read_bytes())), ConfigError,
        ),
        "compiled loops": (
            folder / "l.nbc", ((kind, data) for kind, data in copies if data != sound),
            read_compiled, NmmoError,
        ),
    }  # fmt: skip


def read_recording(path: Path) -> None:
    """Reads all frames."""
    with Replay(path) as replay:
        for _ in replay:
            pass


def read_compiled(path: Path) -> None:
    """Raises NmmoError if the file is not loaded: the loop is then compiled again."""
    if compilation_cache._read(path) is None:
        raise NmmoError("compiled again")


def measured(
    kind: str, path: Path, copies: Iterator[tuple[str, bytes]], read: Callable[[Path], object],
    error: type[Exception],
) -> bool:  # fmt: skip
    """Prints the row of a kind of file."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for what, data in copies:
        path.write_bytes(data)
        begin = time.perf_counter()
        try:
            read(path)
        except error:
            outcomes["refused"] += 1
        except Exception as other:
            outcomes["other errors"] += 1
            print(f"{kind}, {what}: {type(other).__name__}: {other}")
        else:
            outcomes["read"] += 1
        slowest = max(slowest, time.perf_counter() - begin)
    lost = f"{outcomes['refused']} refused, {outcomes['read']} read as another valid file"
    lost += f", {outcomes['other errors']} other errors; slowest {slowest:.1f} s"
    good = not outcomes["other errors"] and (kind != "checkpoints" or not outcomes["read"])
    print(Row(f"damaged {kind}", sum(outcomes.values()), lost, good), flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
