"""The value map of a policy: its value estimate for a newborn, lone agent on every tile."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.bounds import Bounds, checked
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import Bytes
from nmmo_gpu.replay.writer import heat_payload
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.run import load_weights
from nmmo_gpu.train.torch_modes import default_modes
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.memory import environment_parts
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.spawning import settle
from nmmo_gpu.world.system_observation import observe_systems
from nmmo_gpu.world.terrain import safe_table, validate_map

MAX_CELLS = 6400
"""Maximum number of cells, that of an 80x80 map; on larger maps a cell covers several tiles."""

SLOTS_PER_PASS = 8192
"""Approximate number of slots on a copy of the map, of all populations together."""

BATCH = 128 << 20
"""Approximate size in bytes of the copies of the map in a batch; a batch has at least one copy."""

ROWS = 8192
"""Approximate number of records per forward pass of the policies."""


def value_map(
    stored: Checkpoint,
    base: Bytes,
    material: Bytes | None,
    population: int,
    stride: int | None = None,
    device: torch.device | str = "cpu",
    sword: type[Sword] = Sword,
) -> NDArray[np.float32]:
    """Computes a policy's value estimate for a newborn agent, alone in the realm, on every safe tile.

    Args:
        stored: the checkpoint; only its ``policy.*`` tensors are needed.
        base: [H, W] uint8, base materials of the tiles.
        material: [H, W] uint8, current materials; None if they equal ``base``.
        population: population whose policy is used; -1 for the mean over all.
        stride: side of a cell in tiles. A cell's value is that of its safe tile nearest to the center. None
            for the smallest stride with at most ``MAX_CELLS`` cells.
        device: where to compute.
        sword: as for ``nmmo_gpu.train.trained_policy.TrainedPolicy``.

    Returns:
        [ceil(H / stride), ceil(W / stride)] float32, expected return times 1 - gamma; NaN in cells without a
            safe tile. The state of a recurrent policy is that of a newborn, zeros.

    Raises ReplayError if the map or the population does not fit the checkpoint's rules, MapError if the map
    is not playable, CheckpointError if the checkpoint names other classes."""
    config, device = stored.config.env.world, torch.device(device)
    if base.shape != (config.height, config.width):
        raise ReplayError(
            f"the map is {base.shape[0]} x {base.shape[1]} tiles, but the checkpoint's policy plays on "
            f"{config.height} x {config.width}; choose a recording of the same run."
        )
    population = checked("population", population, int)
    stride = checked("stride", stride, Annotated[int, Bounds(ge=1)] | None)
    if not -1 <= population < config.populations:
        raise ReplayError(
            f"population = {population}, but the checkpoint has {config.populations}; choose 0 to "
            f"{config.populations - 1}, or -1 for the mean."
        )
    grounds = [
        torch.tensor(tiles, dtype=torch.uint8, device="cpu")
        for tiles in (base, base if material is None else material)
    ]
    for ground in grounds:
        validate_map(ground, config.border, config.vision, "the recording")
    stride = stride or least_stride(config.height, config.width)
    cells = _cells(safe_table()[grounds[1].long()], stride)

    groups = _groups(cells, config, stride)
    newborns = _Newborns(stored, grounds, max(map(len, groups)), device, sword)
    populations = range(config.populations) if population == -1 else (population,)
    values = torch.full(cells.shape, torch.nan, dtype=torch.float32, device="cpu")
    for start in range(0, len(groups), newborns.batch):
        batch = groups[start : start + newborns.batch]
        places = torch.cat(batch)
        tiles = [cells.view(-1)[group] for group in batch]
        values.view(-1)[places] = newborns.values(tiles, populations).mean(0).cpu()
    found: NDArray[np.float32] = values.numpy()
    return found


def value_payload(
    stored: Checkpoint, base: Bytes, material: Bytes | None, population: int,
    device: torch.device | str = "cpu", sword: type[Sword] = Sword,
) -> bytes:  # fmt: skip
    """Returns the payload of a ``HEAT`` chunk with a value map; arguments and errors as for ``value_map``."""
    values = value_map(stored, base, material, population, device=device, sword=sword)
    policy = "the mean of all populations" if population == -1 else f"population {population}"
    about = f"Value of a newborn, {policy}, after iteration {stored.counters['iteration']}."
    return heat_payload("value", values, population, least_stride(*base.shape), about)


def least_stride(height: int, width: int) -> int:
    """Returns the smallest stride with at most ``MAX_CELLS`` cells."""
    stride = 1
    while math.ceil(height / stride) * math.ceil(width / stride) > MAX_CELLS:
        stride += 1
    return stride


def _cells(safe: Tensor, stride: int) -> Tensor:
    """Returns [rows, cols] int64: the representative tile (row * width + column) of each cell; -1 if the cell
    has no safe tile.

    Args:
        safe: [H, W] bool.
        stride: side of a cell in tiles."""
    height, width = safe.shape
    padded = torch.nn.functional.pad(safe, (0, -width % stride, 0, -height % stride))
    rows, cols = padded.shape[0] // stride, padded.shape[1] // stride
    within = torch.arange(stride, dtype=torch.int64, device="cpu")
    off = (2 * within - (stride - 1)).abs()
    nearest_first = torch.maximum(off[:, None], off).flatten().argsort(stable=True)
    blocks = padded.view(rows, stride, cols, stride).transpose(1, 2).flatten(2)[..., nearest_first]
    chosen = nearest_first[blocks.to(torch.uint8).argmax(-1)]
    row = torch.arange(rows, dtype=torch.int64, device="cpu")[:, None] * stride + chosen // stride
    column = torch.arange(cols, dtype=torch.int64, device="cpu") * stride + chosen % stride
    return torch.where(blocks.any(-1), row * width + column, -1)


def _groups(cells: Tensor, config: WorldConfig, stride: int) -> list[Tensor]:
    """Groups the cells that have a tile, so that agents on the tiles of a group cannot see each other.

    Returns [n] int64 for each group, indices into the flattened ``cells``."""
    # The tiles of cells at distance k are more than (k - 1) * stride apart.
    apart = math.ceil(config.vision / stride) + 1
    place = (cells.view(-1) >= 0).nonzero().squeeze(1)
    kind = place // cells.shape[1] % apart * apart + place % cells.shape[1] % apart
    limit = max(1, SLOTS_PER_PASS // config.populations)
    groups = [place[kind == k] for k in range(apart * apart)]
    return [part for group in groups for part in torch.split(group, limit) if len(part)]


class _Newborns:
    """Newborn agents on copies of a map, and the value estimates of a checkpoint's policies for them."""

    def __init__(
        self, stored: Checkpoint, grounds: list[Tensor], size: int, device: torch.device,
        sword: type[Sword] = Sword,
    ) -> None:  # fmt: skip
        """Loads the policies.

        Args:
            stored: the checkpoint.
            grounds: base and material, [H, W] uint8.
            size: newborns of a population on one copy of the map.
            device: where to compute.
            sword: as for ``value_map``."""
        env = stored.config.env
        # On a CPU, compiling the loops would take longer than computing the map in plain torch.
        changes: dict[str, Any] = {
            "device": str(device),
            "backend": "auto" if device.type == "cuda" else "torch",
        }
        config = dataclasses.replace(env.world, slots=size * env.world.populations, births=0)
        self.env: EnvConfig = dataclasses.replace(env, world=config, realms=1, maps=(), **changes)
        self.grounds = [ground.to(device) for ground in grounds]
        self.batch = max(1, BATCH // sum(part.bytes for part in environment_parts(self.env)))
        """Copies of the map per batch."""
        self.backend: Backend = resolve(self.env.backend, device)
        config_here = dataclasses.replace(stored.config, env=dataclasses.replace(env, **changes))
        self.sword = sword(config_here, device)
        load_weights(self.sword, stored)

    @default_modes()
    @torch.no_grad()
    def values(self, tiles: list[Tensor], populations: range | tuple[int, ...]) -> Tensor:
        """Returns the value estimates, [populations, tiles of all copies] float32.

        Args:
            tiles: tiles of the newborns on each copy of the map, [n] int64 each.
            populations: populations whose policies are used."""
        records = torch.stack([self.records(tiles, population) for population in populations])
        networks, policy = self.env.world.populations, self.sword.policy
        with policy.using(policy.weights()):
            parts = torch.split(records, max(1, ROWS // networks), 1)
            valued = [self._values(rows, populations) for rows in parts]
        return torch.cat(valued, 1)

    def _values(self, rows: Tensor, populations: range | tuple[int, ...]) -> Tensor:
        """[populations, n] float32, from records [populations, n, bytes]."""
        networks, policy = self.env.world.populations, self.sword.policy
        index = torch.arange(rows.shape[0] * rows.shape[1], device=rows.device, dtype=torch.int64)
        index = index.view(rows.shape[:2]).expand(networks, -1).contiguous()
        values = policy.newborn_values(rows.flatten(0, 1), index)
        return values if len(populations) > 1 else values[populations[0], None]

    def records(self, tiles: list[Tensor], population: int) -> Tensor:
        """Returns [n, bytes] uint8: observations of a population's newborns at the end of the tick of birth.

        Args:
            tiles: as for ``values``.
            population: population of the newborns."""
        config, copies = self.env.world, len(tiles)
        base, material = (ground.expand(copies, -1, -1) for ground in self.grounds)
        world = empty_world(config, base, self.env.seed)
        world.material.copy_(material)
        realm = torch.cat([torch.full_like(own, copy) for copy, own in enumerate(tiles)]).to(world.device)
        slots = [torch.arange(len(own), dtype=torch.int64, device="cpu") for own in tiles]
        slot = torch.cat(slots).to(world.device)
        slot += population * config.population_size
        tick.mark_births(world)
        settle(world, realm, slot, torch.cat(tiles).to(world.device))
        world.draw = self.backend.draw
        if births := tick.births(config):
            births(world)
        # The phases of a tick that follow the births, without those of systems.
        self.backend.upkeep(world)
        self.backend.explore(world)
        layout = ObservationLayout(config)
        records = layout.allocate(copies, config.slots, device=world.device)
        seen = torch.empty(copies, config.slots, config.nearest, dtype=torch.int32, device=world.device)
        self.backend.observe(world, records, seen)
        observe_systems(world, records, layout.views(records), seen, layout)
        return records[realm, slot]
