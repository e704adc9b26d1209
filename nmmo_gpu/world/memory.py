"""Memory use of worlds, and available memory."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import torch

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import World

META = torch.device("meta")
"""Tensors on this device have shapes and no data."""
GIB = 1 << 30


@dataclass(frozen=True)
class Part:
    """One line of a table."""

    name: str
    bytes: int


def meta_world(config: EnvConfig) -> World:
    """The world of a config on the meta device, without memory."""
    world_config = config.world
    maps = torch.empty(config.realms, world_config.height, world_config.width, dtype=torch.uint8, device=META)
    return empty_world(world_config, maps, config.seed)


def world_parts(world: World) -> list[Part]:
    """The world's tensors."""
    tiles = sum(t.nbytes for name, t in world.tensors() if t.shape == world.material.shape)
    footprints = world.visited.nbytes
    total = sum(tensor.nbytes for _, tensor in world.tensors())
    return [
        Part("world: tiles", tiles),
        Part("world: footprints of agents", footprints),
        Part("world: everything else", total - tiles - footprints),
    ]


def environment_parts(config: EnvConfig) -> list[Part]:
    """World and observation buffers, which an environment allocates on any backend."""
    world_config = config.world
    per_agent = 2 * ObservationLayout(world_config).bytes + 4 * world_config.nearest
    buffers = Part("observations", config.realms * world_config.slots * per_agent)
    return [*world_parts(meta_world(config)), buffers]


def check_memory(parts: list[Part], device: torch.device, lower: str) -> None:
    """Raises ConfigError if the device has less memory free; ``lower`` names the fields to reduce."""
    free = available(device)
    wanted = sum(part.bytes for part in parts)
    if free is None or wanted <= free:
        return
    largest = max(parts, key=lambda part: part.bytes)
    raise ConfigError(
        f"this needs about {wanted / GIB:.1f} GiB, and {device} has {free / GIB:.1f} GiB free; the largest "
        f"part is: {largest.name}, {largest.bytes / GIB:.1f} GiB. Lower {lower}; `nmmo-gpu info` shows all."
    )


def available(device: torch.device) -> int | None:
    """Free bytes on a device; None if unknown.

    On a GPU this includes torch's cache of freed tensors, which torch releases before it runs out of
    memory."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    if device.type == "cpu" and os.path.exists("/proc/meminfo"):
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    return None


def release() -> None:
    """Frees unused memory: reference cycles, and torch's cache of GPU memory."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
