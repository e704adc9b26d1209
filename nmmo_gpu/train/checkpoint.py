"""Checkpoints: the whole run in one safetensors file (tensors and JSON; nothing in it is executed)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.serialise import from_plain, to_plain
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.state import World, field_shape, tensor_fields

FORMAT = "nmmo-gpu checkpoint"
VERSION = "2"
FILE = "checkpoint.safetensors"
COUNTERS = {"iteration": int, "agent_steps": int, "seconds": float}
"""How far a run has come; ``seconds`` of training."""


@dataclass
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped."""

    config: TrainConfig
    """The run's settings."""
    tensors: dict[str, Tensor]
    """By name: ``world.*``, ``policy.*``, ``optimizer.*`` and ``god.*``."""
    counters: dict[str, float]
    """By the names of ``COUNTERS``."""

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with ``prefix.``, without it."""
        start = prefix + "."
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Writes beside ``path``, flushes to the disk, and only then puts the file in its place.

    A process killed at any moment leaves the former checkpoint or the new one, never half of one."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(to_plain(checkpoint.config)),
        "counters": json.dumps(checkpoint.counters),
    }
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


def load(path: Path, device: torch.device) -> Checkpoint:
    """Reads a checkpoint file; CheckpointError if it is missing, truncated or foreign."""
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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except CheckpointError:
        raise
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: truncated, damaged or no checkpoint at all ({error}); restore it from a copy, or "
            "start a new run."
        ) from error
    return Checkpoint(config, tensors, counters)


def load_world(checkpoint: Checkpoint, device: torch.device) -> World:
    """The world of a checkpoint; CheckpointError if its tensors do not have the shapes of its config."""
    rules = checkpoint.config.env.world
    sizes = World.sizes(rules, checkpoint.config.env.realms)
    stored = checkpoint.part("world")
    tensors: dict[str, Any] = {}
    for field in tensor_fields():
        shape, dtype = field_shape(field, sizes), field.metadata["dtype"]
        expect(stored, field.name, shape, dtype)
        tensors[field.name] = stored[field.name].to(device)
    return World(config=rules, **tensors)


def expect(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """CheckpointError unless the named tensor is there with this shape and dtype."""
    found = tensors.get(name)
    if found is None or tuple(found.shape) != shape or found.dtype != dtype:
        has = "is missing" if found is None else f"is {found.dtype} {tuple(found.shape)}"
        raise CheckpointError(
            f"checkpoint: {name} {has}, where {dtype} {shape} is due; it was written by another version "
            "or is damaged."
        )
