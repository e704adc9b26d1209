"""Checkpoints: the whole run in one safetensors file (tensors and JSON; nothing in it is executed).

Of a run on several processes each writes the realms that it plays into a file of its own beside that, a
shard; the one file names them. Whoever goes on, on however many processes, reads the realms that it will
play."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmmo_gpu.config.serialise import from_plain, to_plain
from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.train import distributed
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.state import World, field_shape, tensor_fields

FORMAT = "nmmo-gpu checkpoint"
VERSION = "5"
FILE = "checkpoint.safetensors"
COUNTERS = {"iteration": int, "agent_steps": int, "seconds": float}
"""How far a run has come; ``seconds`` of training."""
PARTS = ("world", "realms", "policy", "optimizer", "god")
"""What names of tensors begin with."""


@dataclass
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped."""

    config: TrainConfig
    """The run's settings."""
    tensors: dict[str, Tensor]
    """By name: ``policy.*``, ``optimizer.*``, ``god.*``; and of each realm that this process plays
    ``world.*`` [R, ...] and ``realms.*`` [R * n, ...]."""
    counters: dict[str, float]
    """By the names of ``COUNTERS``."""
    network: str
    """The class of the policies' network, as ``nmmo_gpu.train.network.network_name`` gives it."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with ``prefix.``, without it."""
        start = prefix + "."
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Writes beside ``path``, flushes to the disk, and only then puts the file in its place.

    A process killed at any moment leaves the former checkpoint or the new one, never half of one. All
    processes of a run call it together; the new checkpoint is there as soon as the first of them has written
    its file, which it does when all others have."""
    tensors = checkpoint.tensors
    shards: list[tuple[str, int, int]] = []
    if distributed.size() > 1:
        mine = {name: tensor for name, tensor in tensors.items() if _of_realms(name)}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in mine}
        parts = distributed.shards(checkpoint.config.env.realms, distributed.size())
        stem = f"{path.stem}-{checkpoint.counters['iteration']}"
        shards = [
            (f"{stem}-{number}of{len(parts)}{path.suffix}", *part) for number, part in enumerate(parts, 1)
        ]
        _write(path.with_name(shards[distributed.rank()][0]), mine, {"format": FORMAT + " shard"})
        distributed.barrier()
    if distributed.rank():
        return
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(to_plain(checkpoint.config)),
        "counters": json.dumps(checkpoint.counters),
        "network": checkpoint.network,
        "shards": json.dumps(shards),
    }
    _write(path, tensors, metadata)
    for file in path.parent.glob(f"{path.stem}-*of*{path.suffix}"):
        if file.name not in (name for name, _, _ in shards):
            file.unlink()


def _of_realms(name: str) -> bool:
    """Whether a tensor's first dimension is that of realms, or of something in realms."""
    return name.startswith(("world.", "realms.")) and name not in ("world.seed", "world.tick")


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    temporary = path.with_suffix(".writing")
    try:
        safetensors.torch.save_file(tensors, temporary, metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({error}); make room or choose another --run. "
            "The former checkpoint, if there was one, is still good."
        ) from error


def load(path: Path, device: torch.device, policy_only: bool = False) -> Checkpoint:
    """Reads a checkpoint file: of the realms, those that this process plays.

    Args:
        policy_only: of the tensors read ``policy.*`` alone; a world may be larger than memory.

    Raises CheckpointError if it is missing, truncated or foreign."""
    if path.is_dir():
        path = path / FILE
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint; give the folder of a run.")
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path}: a safetensors file, but no {FORMAT}; give the folder of a run."
                )
            if metadata.get("version") != VERSION:
                raise CheckpointError(
                    f"{path}: version {metadata.get('version')} of the format, and this nmmo-gpu reads "
                    f"version {VERSION}; load it with the nmmo-gpu that wrote it."
                )
            config = from_plain(TrainConfig, json.loads(metadata["config"]))
            stored = json.loads(metadata["counters"])
            counters = {name: kind(stored[name]) for name, kind in COUNTERS.items()}
            network = metadata["network"]
            shards = json.loads(metadata["shards"]) or [[path.name, 0, config.env.realms]]
            common = [name for name in file.keys() if not _of_realms(name)]  # noqa: SIM118
            if policy_only:
                common = [name for name in common if name.startswith("policy.")]
            tensors = {name: file.get_tensor(name) for name in common}
        if not policy_only:
            tensors |= _read_realms(path, shards, config, device)
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: truncated, damaged or no checkpoint at all ({error}); restore it from a copy, or "
            "start a new run."
        ) from error
    known = [name for name in tensors if name.split(".")[0] in PARTS]
    _nothing_else(tensors, known, where=str(path))
    return Checkpoint(config, tensors, counters, network)


def _read_realms(
    path: Path, shards: list[list[Any]], config: TrainConfig, device: torch.device
) -> dict[str, Tensor]:
    """What is kept of the realms that this process plays, from the files that have them."""
    first, count = distributed.shards(config.env.realms, distributed.size())[distributed.rank()]
    found: dict[str, list[Tensor]] = {}
    for name, begin, length in shards:
        low, high = max(first, begin) - begin, min(first + count, begin + length) - begin
        if low >= high:
            continue
        with safetensors.safe_open(path.with_name(name), framework="pt", device=str(device)) as file:
            for key in filter(_of_realms, file.keys()):
                part = file.get_slice(key)
                rows = part.get_shape()[0] // length
                found.setdefault(key, []).append(part[low * rows : high * rows])
    return {key: parts[0] if len(parts) == 1 else torch.cat(parts) for key, parts in found.items()}


def load_world(checkpoint: Checkpoint, device: torch.device) -> World:
    """This process's share of a checkpoint's world; CheckpointError if its tensors do not have the shapes of
    its config."""
    env = distributed.shard(checkpoint.config.env)
    config, sizes = env.world, World.sizes(env.world, env.realms)
    stored = checkpoint.part("world")
    tensors: dict[str, Any] = {}
    for field in tensor_fields():
        shape, dtype = field_shape(field, sizes), field.metadata["dtype"]
        expect(stored, field.name, shape, dtype)
        tensors[field.name] = stored[field.name].to(device)
    _nothing_else(stored, tensors, "world.")
    tensors["seed"][1] = env.first_realm
    return World(config=config, **tensors)


def expect(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """CheckpointError unless the named tensor is there with this shape and dtype."""
    found = tensors.get(name)
    if found is None or tuple(found.shape) != shape or found.dtype != dtype:
        has = "is missing" if found is None else f"is {found.dtype} {tuple(found.shape)}"
        raise CheckpointError(
            f"checkpoint: {name} {has}, where {dtype} {shape} is due; it was written by another version "
            "or is damaged."
        )


def restore(into: dict[str, Tensor], stored: dict[str, Tensor], prefix: str = "") -> None:
    """Copies tensors into those of the same names.

    Args:
        prefix: what the names begin with in the file, for messages.

    Raises CheckpointError, before anything has changed, if one is missing, does not fit, or has nowhere to
    go."""
    expect_all(stored, {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in into.items()}, prefix)
    for name, tensor in into.items():
        tensor.copy_(stored[name])


def expect_all(
    tensors: dict[str, Tensor], wanted: dict[str, tuple[tuple[int, ...], torch.dtype]], prefix: str = ""
) -> None:
    """CheckpointError unless there are exactly these tensors, each with this shape and dtype.

    ``prefix``: as for ``restore``."""
    for name, (shape, dtype) in wanted.items():
        expect(tensors, name, shape, dtype)
    _nothing_else(tensors, wanted, prefix)


def _nothing_else(
    tensors: Collection[str], taken: Collection[str], prefix: str = "", where: str = "checkpoint"
) -> None:
    """CheckpointError if there are names beside those that are taken."""
    if left := sorted(set(tensors) - set(taken)):
        named = ", ".join(prefix + name for name in left[:5]) + (", ..." if len(left) > 5 else "")
        raise CheckpointError(
            f"{where}: it holds {named}, for which there is no place here; load it with the classes "
            "(network, Sword, God, Pantheon) and the nmmo-gpu that wrote it."
        )
