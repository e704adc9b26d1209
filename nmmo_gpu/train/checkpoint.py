"""Checkpoints: a whole run in one safetensors file (tensors and JSON; nothing in it is executed).

In a run with several processes, each process writes its realms into a shard, a file of its own next to the
checkpoint file, which lists the shards. A run can resume with any number of processes: each reads only its
own realms."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmmo_gpu.config.serialize import from_plain, to_plain
from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.files import replacing
from nmmo_gpu.train import distributed
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.state import World, field_shape, tensor_fields

FORMAT = "nmmo-gpu checkpoint"
SHARD_FORMAT = "nmmo-gpu checkpoint shard"
VERSION = "6"
FILE = "checkpoint.safetensors"
COUNTERS = {"iteration": int, "agent_steps": int, "seconds": float, "schedule_scale": float}
"""Progress of a run: name and type of each counter. ``seconds`` is the training time,
``schedule_scale`` (1 if a file lacks it) that of ``Run``."""
PARTS = ("world", "realms", "policy", "optimizer", "god")
"""Prefixes of tensor names."""


@dataclass
class Checkpoint:
    """Everything that a run needs to resume as if it had never stopped."""

    config: TrainConfig
    """The run's settings."""
    tensors: dict[str, Tensor]
    """Tensors by name: ``policy.*``, ``optimizer.*``, ``god.*``; for the realms of this process also
    ``world.*`` [R, ...] and ``realms.*`` [R * n, ...]."""
    counters: dict[str, float]
    """Values by the names of ``COUNTERS``."""
    network: str
    """The class of the policy network, as returned by ``nmmo_gpu.train.network.network_name``."""
    run_id: str = ""
    """The run's ``RunFolder.id``; shards of earlier checkpoints are deleted only if they have the same."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Returns the tensors whose names start with ``prefix.``, by name without this prefix."""
        start = prefix + "."
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces the file at ``path`` when the new one is complete and flushed to the disk.

    A process killed at any moment leaves the previous checkpoint or the new one, never a partial one. All
    processes of a run call this function together. The first process writes its file after all others, and
    that makes the new checkpoint valid.

    Raises CheckpointError, in all processes, if one of them cannot write its file."""
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
        name = shards[distributed.rank()][0]
        metadata = {"format": SHARD_FORMAT, "run": checkpoint.run_id, "name": name}
        _write_together(path.with_name(name), mine, metadata, writes=True)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(to_plain(checkpoint.config)),
        "counters": json.dumps(checkpoint.counters),
        "network": checkpoint.network,
        "shards": json.dumps(shards),
        "run": checkpoint.run_id,
    }
    _write_together(path, tensors, metadata, writes=distributed.rank() == 0)
    if distributed.rank() == 0:
        _delete_shards(path, checkpoint.run_id, keep={name for name, _, _ in shards})


def _write_together(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], writes: bool) -> None:
    """Writes a file in the processes that are to write, and waits until all have; an error is everyone's."""
    failure: CheckpointError | None = None
    try:
        if writes:
            _write(path, tensors, metadata)
    except CheckpointError as error:
        failure = error
    (failed,) = distributed.all_reduce_max(failure is not None)
    if failed:
        raise failure or CheckpointError(f"{path.parent}: another process could not write its checkpoint.")


def _delete_shards(path: Path, run_id: str, keep: set[str]) -> None:
    """Deletes shards of earlier checkpoints next to ``path``: only files that say that this run wrote them
    under this name, so copies stay."""
    pattern = re.compile(rf"{re.escape(path.stem)}-\d+-\d+of\d+{re.escape(path.suffix)}")
    for file in path.parent.iterdir():
        if not run_id or file.name in keep or not pattern.fullmatch(file.name):
            continue
        with contextlib.suppress(OSError, safetensors.SafetensorError):  # an old file harms nothing
            with safetensors.safe_open(file, framework="pt") as shard:
                found = shard.metadata() or {}
            own = {"format": SHARD_FORMAT, "run": run_id, "name": file.name}
            if all(found.get(key) == value for key, value in own.items()):
                file.unlink()


def _of_realms(name: str) -> bool:
    """Whether a tensor's first dimension is realms, or items in realms."""
    return name.startswith(("world.", "realms.")) and name not in ("world.seed", "world.tick")


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with replacing(path) as part:
            safetensors.torch.save_file(tensors, part, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({error}); free disk space or choose another "
            "--run. The previous checkpoint, if any, is still valid."
        ) from error


def load(path: Path, device: torch.device, policy_only: bool = False) -> Checkpoint:
    """Reads a checkpoint file, including only the realms of this process.

    Args:
        path: the file, or the folder of a run.
        device: device of the tensors.
        policy_only: read only the tensors ``policy.*``; a world may be larger than memory.

    Raises CheckpointError if the file is missing, truncated or not a checkpoint."""
    if path.is_dir():
        path = path / FILE
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint; give the folder of a run.")
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path}: a safetensors file, but not an {FORMAT}; give the folder of a run."
                )
            if metadata.get("version") != VERSION:
                raise CheckpointError(
                    f"{path}: format version {metadata.get('version')}, but this nmmo-gpu reads version "
                    f"{VERSION}; load the checkpoint with the version of nmmo-gpu that wrote it."
                )
            config = from_plain(TrainConfig, json.loads(metadata["config"]))
            stored = {"schedule_scale": 1.0} | json.loads(metadata["counters"])
            counters = {name: kind(stored[name]) for name, kind in COUNTERS.items()}
            network, run_id = metadata["network"], metadata.get("run", "")
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
            f"{path}: truncated, damaged or not a checkpoint ({error}); restore it from a copy, or "
            "start a new run."
        ) from error
    known = [name for name in tensors if name.split(".")[0] in PARTS]
    _expect_no_others(tensors, known, where=str(path))
    return Checkpoint(config, tensors, counters, network, run_id)


def _read_realms(
    path: Path, shards: list[list[Any]], config: TrainConfig, device: torch.device
) -> dict[str, Tensor]:
    """Reads the tensors of this process's realms from the files that hold them."""
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
    """Returns this process's realms of a checkpoint's world.

    Raises CheckpointError if the shapes of the tensors do not match the config."""
    env = distributed.shard(checkpoint.config.env)
    config, sizes = env.world, World.sizes(env.world, env.realms)
    stored = checkpoint.part("world")
    tensors: dict[str, Any] = {}
    for field in tensor_fields():
        shape, dtype = field_shape(field, sizes), field.metadata["dtype"]
        expect(stored, field.name, shape, dtype)
        # Copies: the tensors of a file share a buffer, in which an empty one begins where the next does.
        tensors[field.name] = stored[field.name].to(device, copy=True)
    _expect_no_others(stored, tensors, "world.")
    tensors["seed"][1] = env.first_realm
    return World(config=config, **tensors)


def expect(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raises CheckpointError unless the named tensor exists with this shape and dtype."""
    found = tensors.get(name)
    if found is None or tuple(found.shape) != shape or found.dtype != dtype:
        has = "is missing" if found is None else f"is {found.dtype} {tuple(found.shape)}"
        raise CheckpointError(
            f"checkpoint: {name} {has}, expected {dtype} {shape}; the checkpoint was written by another "
            "version or is damaged."
        )


def restore(into: dict[str, Tensor], stored: dict[str, Tensor], prefix: str = "") -> None:
    """Copies stored tensors into the tensors of the same names.

    Args:
        into: tensors to overwrite.
        stored: tensors of a checkpoint.
        prefix: prefix of the names in the file, for messages.

    Raises CheckpointError, before anything is changed, if a stored tensor is missing, has another shape or
    dtype, or has no counterpart in ``into``."""
    expect_all(stored, {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in into.items()}, prefix)
    for name, tensor in into.items():
        tensor.copy_(stored[name])


def expect_all(
    tensors: dict[str, Tensor], wanted: dict[str, tuple[tuple[int, ...], torch.dtype]], prefix: str = ""
) -> None:
    """Raises CheckpointError unless exactly these tensors exist, each with this shape and dtype.

    Args:
        tensors: tensors of a checkpoint.
        wanted: shape and dtype by name.
        prefix: as for ``restore``."""
    for name, (shape, dtype) in wanted.items():
        expect(tensors, name, shape, dtype)
    _expect_no_others(tensors, wanted, prefix)


def _expect_no_others(
    names: Collection[str], expected: Collection[str], prefix: str = "", where: str = "checkpoint"
) -> None:
    """Raises CheckpointError if there are names other than the expected ones."""
    if others := sorted(set(names) - set(expected)):
        listed = ", ".join(prefix + name for name in others[:5]) + (", ..." if len(others) > 5 else "")
        raise CheckpointError(
            f"{where}: unexpected tensors {listed}; load the checkpoint with the classes (network, Sword, "
            "God, Pantheon) and the version of nmmo-gpu that wrote it."
        )
