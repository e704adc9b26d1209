"""Small replays for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nmmo_gpu.env import configure
from nmmo_gpu.replay.columns import FrameLayout
from nmmo_gpu.replay.format import Bytes
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.writer import ReplayWriter

CONFIG = configure("chaos", height=33, width=47, border=7, slots=6, populations=3)
LAYOUT = FrameLayout(CONFIG.world)
TILES = 33 * 47


def replay_header() -> dict[str, Any]:
    """Returns the header of these replays."""
    return header(CONFIG, 0, "a test")


def base() -> Bytes:
    """Returns the map of these replays."""
    return np.random.default_rng(7).integers(0, 7, (33, 47), np.uint8)


def noise(ticks: int, seed: int = 0) -> Bytes:
    """Returns [ticks, bytes] frames of random bits; the unused bits after the last tile are zero."""
    frames = np.random.default_rng(seed).integers(0, 256, (ticks, LAYOUT.bytes), np.uint8)
    frames[:, LAYOUT.tiles + TILES // 8] &= (1 << TILES % 8) - 1
    frames[:, LAYOUT.tiles + TILES // 8 + 1 :] = 0
    return frames


def write(path: Path, parts: dict[int, Bytes]) -> bytes:
    """Writes a file of several ranges of frames, by first tick, and returns its contents."""
    with ReplayWriter(path, replay_header(), base()) as writer:
        for first, frames in parts.items():
            writer.frames(first, frames)
    return path.read_bytes()
