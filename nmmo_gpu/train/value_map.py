"""The value map of a policy: what a newborn, alone, would be worth to it on every tile."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.errors import ReplayError
from nmmo_gpu.replay.format import Bytes
from nmmo_gpu.replay.writer import heat_payload
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.run import load_policy
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.memory import environment_parts
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.spawning import settle
from nmmo_gpu.world.terrain import safe_table, validate_map

MOST_CELLS = 6400
"""As many as an 80x80 map has; larger maps are looked at in strides."""

SLOTS_PER_PASS = 8192
"""Agents of all populations that one copy of the map has room for, about."""

BATCH = 128 << 20
"""Bytes of the copies that are looked at together, about; one at least, however large."""

ROWS = 8192
"""Records that the policies look at together, about."""


def value_map(
    stored: Checkpoint,
    base: Bytes,
    material: Bytes | None,
    population: int,
    stride: int | None = None,
    device: torch.device | str = "cpu",
    sword: type[Sword] = Sword,
) -> NDArray[np.float32]:
    """What the policy of a checkpoint expects for a newborn, alone in the realm, on every tile on which one
    can stand and live.

    Args:
        stored: with its ``policy.*`` tensors; no others are needed.
        base: [H, W] uint8, what tiles were made of.
        material: [H, W] uint8, what they show now; None if that is the same.
        population: whose policy; -1 for the mean over all.
        stride: cells of so many tiles a side are valued, each on one tile: of those where it can, the nearest
            to the cell's middle. None: the smallest that makes at most ``MOST_CELLS`` of them.
        device: where to compute.
        sword: as for ``nmmo_gpu.train.evaluate.PolicyActor``.

    Returns:
        [ceil(H / stride), ceil(W / stride)] float32, expected rewards times 1 - gamma; NaN where no agent can
            stand and live. A recurrent policy's memory is that of the newborn: zeros.

    Raises ReplayError if the map or the population does not fit the checkpoint's rules, MapError for a map
    that cannot be played on, CheckpointError if the checkpoint's network is another class."""
    config, device = stored.config.env.world, torch.device(device)
    if base.shape != (config.height, config.width):
        raise ReplayError(
            f"the map is {base.shape[0]} x {base.shape[1]} tiles, and the checkpoint's policy plays on "
            f"{config.height} x {config.width}; choose a recording of the same run."
        )
    if not -1 <= population < config.populations:
        raise ReplayError(
            f"population = {population}, and the checkpoint has {config.populations}; choose 0 to "
            f"{config.populations - 1}, or -1 for the mean."
        )
    grounds = [torch.tensor(tiles) for tiles in (base, base if material is None else material)]
    for ground in grounds:
        validate_map(ground, config.border, config.vision, "the recording")
    stride = stride or least_stride(config.height, config.width)
    cells = _cells(safe_table()[grounds[1].long()], stride)

    groups = _groups(cells, config, stride)
    newborns = _Newborns(stored, grounds, max(map(len, groups)), device, sword)
    populations = range(config.populations) if population == -1 else (population,)
    values = torch.full(cells.shape, torch.nan)
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
    """The payload of a ``HEAT`` chunk with ``value_map``; arguments and errors as there."""
    values = value_map(stored, base, material, population, device=device, sword=sword)
    who = "the mean of all populations" if population == -1 else f"population {population}"
    about = f"A newborn's value to {who}, after iteration {stored.counters['iteration']}."
    return heat_payload("value", values, population, least_stride(*base.shape), about)


def least_stride(height: int, width: int) -> int:
    """The smallest that makes at most ``MOST_CELLS`` cells."""
    stride = 1
    while math.ceil(height / stride) * math.ceil(width / stride) > MOST_CELLS:
        stride += 1
    return stride


def _cells(safe: Tensor, stride: int) -> Tensor:
    """[rows, cols] int64: the tile (row * width + column) that stands for each cell; -1 where all of a cell's
    are unsafe.

    Args:
        safe: [H, W] bool."""
    height, width = safe.shape
    padded = torch.nn.functional.pad(safe, (0, -width % stride, 0, -height % stride))
    rows, cols = padded.shape[0] // stride, padded.shape[1] // stride
    within = torch.arange(stride)
    off = (within - (stride - 1) / 2).abs()
    nearest_first = torch.maximum(off[:, None], off).flatten().argsort(stable=True)
    blocks = padded.view(rows, stride, cols, stride).transpose(1, 2).flatten(2)[..., nearest_first]
    chosen = nearest_first[blocks.to(torch.uint8).argmax(-1)]
    row = torch.arange(rows)[:, None] * stride + chosen // stride
    column = torch.arange(cols) * stride + chosen % stride
    return torch.where(blocks.any(-1), row * width + column, -1)


def _groups(cells: Tensor, config: WorldConfig, stride: int) -> list[Tensor]:
    """The cells with a tile ([n] int64 each, into flattened ``cells``), in groups whose tiles are so far
    apart that who stands on one is out of sight of all others, and as good as alone."""
    # Tiles of cells that are k apart are more than (k - 1) * stride apart.
    apart = math.ceil(config.vision / stride) + 1
    place = (cells.view(-1) >= 0).nonzero().squeeze(1)
    kind = place // cells.shape[1] % apart * apart + place % cells.shape[1] % apart
    most = max(1, SLOTS_PER_PASS // config.populations)
    groups = [place[kind == k] for k in range(apart * apart)]
    return [part for group in groups for part in torch.split(group, most) if len(part)]


class _Newborns:
    """Agents born on copies of a map, and what a checkpoint's policies make of what they see."""

    def __init__(
        self, stored: Checkpoint, grounds: list[Tensor], size: int, device: torch.device,
        sword: type[Sword] = Sword,
    ) -> None:  # fmt: skip
        """Makes the policies.

        Args:
            grounds: base and material, [H, W] uint8. size: newborns of a population on one copy."""
        env = stored.config.env
        # On a CPU, compiling loops would take longer than the map does without.
        here: dict[str, Any] = {
            "device": str(device),
            "backend": "auto" if device.type == "cuda" else "torch",
        }
        config = dataclasses.replace(env.world, slots=size * env.world.populations, births=0)
        self.env: EnvConfig = dataclasses.replace(env, world=config, realms=1, maps=(), **here)
        self.grounds = [ground.to(device) for ground in grounds]
        self.batch = max(1, BATCH // sum(part.bytes for part in environment_parts(self.env)))
        """Copies of the map at a time."""
        self.backend: Backend = resolve(self.env.backend, device)
        self.sword = sword(dataclasses.replace(stored.config, env=dataclasses.replace(env, **here)), device)
        load_policy(self.sword, stored)

    @torch.no_grad()
    def values(self, tiles: list[Tensor], populations: range | tuple[int, ...]) -> Tensor:
        """[populations, tiles of all copies] float32.

        Args:
            tiles: for each copy of the map where newborns stand, [n] int64 each."""
        records = torch.stack([self.records(tiles, population) for population in populations])
        networks, policy = self.env.world.populations, self.sword.policy
        with policy.using(policy.weights()):
            parts = torch.split(records, max(1, ROWS // networks), 1)
            valued = [self._values(rows, populations) for rows in parts]
        return torch.cat(valued, 1)

    def _values(self, rows: Tensor, populations: range | tuple[int, ...]) -> Tensor:
        """[populations, n] float32, from records [populations, n, bytes]."""
        networks, policy = self.env.world.populations, self.sword.policy
        index = torch.arange(rows.shape[0] * rows.shape[1], device=rows.device).view(rows.shape[:2])
        index = index.expand(networks, -1).contiguous()
        memory = policy.initial_state(index.numel(), rows.device)
        if memory is not None:
            memory = memory.view(*index.shape, -1)
        logits, _ = policy.unmasked(rows.flatten(0, 1), index, memory)
        return logits[..., -1] if len(populations) > 1 else logits[populations[0], None, :, -1]

    def records(self, tiles: list[Tensor], population: int) -> Tensor:
        """[n, bytes] uint8: what newborns of a population see at the end of the tick of their birth."""
        config, copies = self.env.world, len(tiles)
        base, material = (ground.expand(copies, -1, -1) for ground in self.grounds)
        world = empty_world(config, base, self.env.seed)
        world.material.copy_(material)
        realm = torch.cat([torch.full_like(own, copy) for copy, own in enumerate(tiles)]).to(world.device)
        slot = torch.cat([torch.arange(len(own)) for own in tiles]).to(world.device)
        slot += population * config.population_size
        settle(world, realm, slot, torch.cat(tiles).to(world.device))
        # What is left of a tick behind the births.
        self.backend.upkeep(world)
        self.backend.explore(world)
        records = ObservationLayout(config).allocate(copies, config.slots, device=world.device)
        seen = torch.empty(copies, config.slots, config.nearest, dtype=torch.int32, device=world.device)
        self.backend.observe(world, records, seen)
        return records[realm, slot]
