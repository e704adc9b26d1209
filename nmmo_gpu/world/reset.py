"""The initial world: terrain without agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.bounds import checked
from nmmo_gpu.config.seeds import Seed
from nmmo_gpu.content import CONSTITUTION, SKILLS
from nmmo_gpu.content.tables import LEVELS
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.state import World, field_shape, state_fields
from nmmo_gpu.world.terrain import fill, generate, shore, validate_map
from nmmo_gpu.world.tiled import load_tmx

FIGHTING = ("melee", "range", "mage", "defense")
"""Skills in which an NPC has the level of its kind."""


@torch.inference_mode(False)
def empty_world(config: WorldConfig, maps: Tensor, seed: int, first_realm: int = 0) -> World:
    """A world at tick 0 without agents.

    Args:
        maps: [R, H, W] uint8, Material: the map of each realm; decides device and number of realms.
        seed: 64-bit key of the world's random numbers.
        first_realm: the number of its first realm.
    """
    seed = checked("seed", seed, Seed)
    sizes = World.sizes(config, maps.shape[0])
    tensors = {}
    for field in state_fields(config):
        shape = field_shape(field, sizes)
        tensors[field.name] = torch.full(shape, field.fill, dtype=field.dtype, device=maps.device)
    world = World.of(config, tensors)
    world.seed.copy_(torch.tensor([seed, first_realm], dtype=torch.int64, device="cpu"))
    world.base.copy_(maps)
    world.material.copy_(maps)
    world.shore.copy_(shore(maps))
    if config.npcs:
        world.level[:, config.slots :] = npc_levels(config, world.device)
    if world.device.type != "meta":
        for system in config.systems:
            system.begin(world)
    return world


def npc_levels(config: WorldConfig, device: torch.device) -> Tensor:
    """[NPC slots, skills] uint8: an NPC's level in styles and defense is that of its kind, in constitution
    its health, and 1 in all other skills."""
    rows = []
    for kind, number in zip(config.tables.npcs, config.npc_counts, strict=True):
        levels = [kind.level if skill in FIGHTING else 1 for skill in SKILLS]
        levels[CONSTITUTION] = min(kind.health, LEVELS)
        rows += [levels] * number
    return torch.tensor(rows, dtype=torch.uint8, device=device).view(-1, len(SKILLS))


def realm_maps(
    config: EnvConfig,
    device: torch.device | str = "cpu",
    fill: Callable[[Tensor, int, int, int], None] = fill,
) -> Tensor:
    """[realms, H, W] uint8 on ``device``: the files of ``config.maps`` in turn, or terrain from the seed,
    drawn by ``fill`` (``Backend.terrain``).

    Raises MapError for an invalid file, ConfigError if it does not match the world's size."""
    world_config = config.world
    if config.maps:
        files = load_maps(config.maps, world_config)
        realm = config.first_realm + torch.arange(config.realms, dtype=torch.int64, device="cpu")
        return files[realm % len(files)].to(device)
    count, first = (1, 0) if config.shared_map else (config.realms, config.first_realm)
    ore = "mine" in world_config.works
    made = generate(
        config.seed,
        count,
        world_config.height,
        world_config.width,
        world_config.border,
        first,
        ore,
        device=device,
        fill=fill,
    )
    return made.expand(config.realms, -1, -1)


def load_maps(paths: Sequence[str | Path], config: WorldConfig) -> Tensor:
    """[n, H, W] uint8 from Tiled files, checked against the rules (size, border, ring)."""
    loaded = []
    for path in paths:
        material = load_tmx(path)
        if tuple(material.shape) != (config.height, config.width):
            raise ConfigError(
                f"maps: {path} is {material.shape[0]} x {material.shape[1]} tiles, and height x width = "
                f"{config.height} x {config.width}; set height = {material.shape[0]} and "
                f"width = {material.shape[1]}, or choose other maps."
            )
        validate_map(material, config.border, config.vision, str(path))
        loaded.append(material)
    return torch.stack(loaded)
