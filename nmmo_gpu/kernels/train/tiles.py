"""For each target, whether a layer is one kernel, and how that kernel divides its matrix product."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch

from nmmo_gpu.kernels.launch import INTERPRETED, Launch


class Tile(NamedTuple):
    """How a program divides a matrix product."""

    rows: int
    columns: int
    depth: int
    """Rows and columns of the result, and terms that are added per step."""
    stages: int
    """Number of steps whose operands are read ahead."""
    warps: int


class Tiles(NamedTuple):
    """The tiles of a layer's kernels."""

    forward: Tile
    backward: Tile


TILES = {
    "sm_80": Tiles(Tile(128, 128, 32, 4, 8), Tile(128, 128, 32, 4, 8)),
    "sm_90": Tiles(Tile(128, 256, 64, 3, 8), Tile(128, 128, 64, 4, 8)),
    "sm_100": Tiles(Tile(128, 256, 64, 3, 8), Tile(128, 256, 64, 3, 8)),
    "gfx942": Tiles(Tile(128, 128, 32, 2, 8), Tile(128, 128, 32, 2, 8)),
}
"""Tiles by target. ``scripts/compile_kernels.py`` shows the registers that they need; none spills."""
INTERPRETED_TILES = Tiles(Tile(512, 64, 64, 1, 1), Tile(512, 64, 64, 1, 1))
"""The interpreter's time depends on the number of operations, not on that of elements."""

FUSED = {"sm_80": True, "sm_90": True, "sm_100": True, "gfx942": True}
"""Whether a layer in bfloat16 is one kernel (``fused_layers``), or a product of the BLAS library and a kernel
for the rest (``layers``). The kernel moves less than half as many bytes. ``scripts/gpu/layer_times.py``
measures both; set a target to False where the library is faster."""


@cache
def target_of(device: torch.device) -> str:
    """Returns the key of ``TILES`` for a device.

    Args:
        device: a GPU; for any other device, the GPU of this machine, or an sm_90 if there is none."""
    if device.type != "cuda":
        if not torch.cuda.is_available():
            return "sm_90"
        device = torch.device("cuda", torch.cuda.current_device())
    if torch.version.hip is not None:
        return "gfx942"
    major, minor = torch.cuda.get_device_capability(device)
    return nearest_target(10 * major + minor)


def nearest_target(architecture: int | str) -> str:
    """Returns the key of ``TILES`` for a CUDA capability, such as 90, or the name of an AMD architecture."""
    if isinstance(architecture, str):
        return "gfx942"
    return {9: "sm_90", 10: "sm_100"}.get(architecture // 10, "sm_80")


def tiles_for(target: str) -> Tiles:
    """Returns the tiles of a target."""
    return INTERPRETED_TILES if INTERPRETED else TILES[target]


def for_target(launch: Launch, target: str) -> Launch:
    """Returns a launch as it would be made on a GPU of a target."""
    if "tile" not in launch.constants:
        return launch
    tiles = tiles_for(target)
    tile = tiles.backward if launch.kernel.__name__.endswith("_backward") else tiles.forward
    return launch._replace(constants=launch.constants | {"tile": tile}, warps=tile.warps)
