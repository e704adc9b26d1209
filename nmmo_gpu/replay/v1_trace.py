"""Replays recordings of Neural MMO v1 through the tick, to check that the rules are the same."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from nmmo_gpu.config import preset
from nmmo_gpu.content import Material
from nmmo_gpu.errors import NmmoError
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import World

STATE = ("row", "col", "food", "water", "health", "freeze", "immune", "age")
"""Arrays [T + 1, N] of a recording that are compared for living agents."""
ACTIONS = ("move", "style", "target")
"""Arrays [T, N] of actions."""

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that numpy and zipfile raise for damaged files."""

Recording = dict[str, np.ndarray]


class TraceError(NmmoError, ValueError):
    """A file that is not a recording of v1."""


def load_trace(path: str | Path) -> Recording:
    """The arrays of a recording (.npz), checked for presence and shape; TraceError if they are invalid."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        raise TraceError(f"{path}: not a readable .npz file ({error}); give a recording of v1.") from error
    wanted = (*ACTIONS, "alive", *STATE, "depleted", "material", "preset")
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise TraceError(f"{path}: lacks the arrays {', '.join(missing)}; give a recording of v1.")
    if arrays["move"].ndim != 2 or arrays["material"].ndim != 2 or arrays["depleted"].shape[1:] != (3,):
        raise TraceError(f"{path}: move, material or depleted has the wrong number of dimensions.")
    ticks, agents = arrays["move"].shape
    for names, shape in ((ACTIONS, (ticks, agents)), (("alive", *STATE), (ticks + 1, agents))):
        for name in names:
            if arrays[name].shape != shape:
                raise TraceError(f"{path}: {name} has shape {arrays[name].shape}, expected {shape}.")
    return arrays


def world_of(recording: Recording, device: torch.device) -> World:
    """A world of one realm in the recording's first state; births and regrowth are off."""
    agents = recording["move"].shape[1]
    height, width = recording["material"].shape
    config = preset(
        str(recording["preset"]),
        height=height, width=width, slots=agents, populations=1, births=0, regrowth=0.0,
    )  # fmt: skip
    maps = torch.from_numpy(recording["material"].astype(np.uint8))[None].to(device)
    world = empty_world(config, maps, seed=0)
    for name in ("alive", "row", "col", "food", "water", "health", "freeze", "age"):
        field = getattr(world, name)
        field.copy_(torch.from_numpy(recording[name][0].astype(np.int64))[None])
    slot = torch.arange(agents, device=device, dtype=torch.int64)
    world.entity.copy_(slot[None])
    living = world.alive.view(-1)
    tile = world.tile()[living]
    world.occupant.view(-1)[tile] = (slot[living] + 1).int()
    world.presence.view(-1)[tile] = 1
    return world


def first_difference(recording: Recording, backend: str = "auto", device: str = "cpu") -> str | None:
    """Plays the recording through the tick; describes the first difference, or returns None if there is
    none."""
    where = resolve_device(device)
    phases = resolve(backend, where)
    world = world_of(recording, where)
    eaten: dict[int, set[tuple[int, int]]] = {}
    for time, row, col in recording["depleted"].tolist():
        eaten.setdefault(time, set()).add((row, col))

    for time in range(recording["move"].shape[0]):
        before = world.material.clone()
        move, style, target = (
            torch.from_numpy(recording[name][time].astype(np.int64))[None].to(where) for name in ACTIONS
        )
        tick.step(world, phases, move, style.clamp(min=0), target)

        alive = world.alive[0].cpu().numpy()
        expected = recording["alive"][time + 1].astype(bool)
        for agent in np.nonzero(alive != expected)[0]:
            return f"tick {time}, agent {agent}: alive is {alive[agent]}, v1 has {expected[agent]}"
        for name in STATE:
            field = world.immune() if name == "immune" else getattr(world, name)
            actual, in_v1 = field[0].cpu().numpy().astype(int), recording[name][time + 1].astype(int)
            for agent in np.nonzero((actual != in_v1) & expected)[0]:
                return f"tick {time}, agent {agent}: {name} is {actual[agent]}, v1 has {in_v1[agent]}"
        changed = (world.material != before)[0].nonzero().tolist()
        eaten_now = {(row, col) for row, col in changed if world.material[0, row, col] == Material.SCRUB}
        if eaten_now != eaten.get(time, set()) or len(changed) != len(eaten_now):
            return (
                f"tick {time}: eaten tiles are {sorted(eaten_now)}, v1 has {sorted(eaten.get(time, set()))}"
            )
    return None
