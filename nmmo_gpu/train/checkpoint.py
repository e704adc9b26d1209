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

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.errors import CheckpointError, NotImportedError, WorldError
from nmmo_gpu.files import reason, replacing
from nmmo_gpu.train import checkpoint_check as check
from nmmo_gpu.train import distributed
from nmmo_gpu.train.checkpoint_check import COUNTERS as COUNTERS
from nmmo_gpu.train.class_names import ClassNames
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.state import World, field_shape, state_fields

FORMAT = "nmmo-gpu checkpoint"
SHARD_FORMAT = "nmmo-gpu checkpoint shard"
VERSION = "8"
FILE = "checkpoint.safetensors"
PARTS = ("world", "realms", "policy", "optimizer", "god")
"""Prefixes of tensor names."""
DAMAGE = (
    OSError, safetensors.SafetensorError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    RuntimeError, MemoryError,
)  # fmt: skip
"""What reading a damaged file can raise."""
READS = 10
"""How often to read a file that is replaced each time. A run that trains replaces it; safetensors opens it
twice, for the header and for the data, and shards of the old one are deleted."""


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
    classes: ClassNames
    """The names of the classes that made the run."""
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
        name, *part = shards[distributed.rank()]
        identity = check.shard_identity(checkpoint.config, checkpoint.counters, *part)
        metadata = {"format": SHARD_FORMAT, "part": identity, "run": checkpoint.run_id, "name": name}
        _write_together(path.with_name(name), mine, metadata, writes=True)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(to_plain(checkpoint.config)),
        "counters": json.dumps(checkpoint.counters),
        "classes": json.dumps(checkpoint.classes._asdict()),
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
    metadata = check.sealed(tensors, metadata)
    try:
        with replacing(path) as part:
            safetensors.torch.save_file(tensors, part, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint could not be written ({error}); free disk space or choose another "
            "--run. The previous checkpoint, if any, is still valid."
        ) from error


def load(path: Path, device: torch.device, policy_only: bool = False) -> Checkpoint:
    """Reads a checkpoint file, including only the realms of this process, and checks it: digests, settings,
    shapes and values.

    Args:
        path: the file, or the folder of a run.
        device: device of the tensors.
        policy_only: read and check only the tensors ``policy.*``; a world may be larger than memory.

    Raises CheckpointError if the file is missing, damaged or not a checkpoint. Nothing in it is executed, and
    nothing is allocated for which the file does not have the data."""
    try:
        if path.is_dir():
            path = path / FILE
        missing = not path.exists()
    except (OSError, ValueError) as error:  # for example a name that is too long
        raise CheckpointError(
            f"{path}: cannot be read ({reason(error)}); give the folder of a run."
        ) from error
    if missing:
        raise CheckpointError(f"{path}: the checkpoint does not exist; give the folder of a run.")
    for _ in range(READS - 1):
        identity = _identity(path)
        try:
            return _load(path, device, policy_only)
        except CheckpointError:
            if _identity(path) == identity:
                raise
    return _load(path, device, policy_only)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes when a file is replaced, or None if the file does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _load(path: Path, device: torch.device, policy_only: bool) -> Checkpoint:
    """Does what ``load`` does, unless the file is replaced in the meantime."""
    try:
        stored = _read(path, policy_only)
        check.check_values(stored.tensors)
    except DAMAGE as error:
        raise _refused(path, error) from error
    if not policy_only:
        try:
            _world(stored, stored.part("world")).validate()
        except (CheckpointError, WorldError) as error:
            raise _refused(path, error) from error
    stored.tensors = {name: tensor.to(device) for name, tensor in stored.tensors.items()}
    return stored


def _refused(path: Path, error: BaseException) -> CheckpointError:
    """Returns the error about a file that cannot be used."""
    if isinstance(error, CheckpointError) and str(path) in str(error):
        return error
    if isinstance(error, NotImportedError):
        return CheckpointError(f"{path}: {check.printable(str(error))}")
    cause = check.printable(str(error) or type(error).__name__)
    return CheckpointError(
        f"{path}: truncated, damaged or not a checkpoint ({cause}); restore it from a copy, or start a new "
        "run."
    )


def _read(path: Path, policy_only: bool) -> Checkpoint:
    """Reads a checkpoint file without checking values."""
    with check.opened(path) as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise CheckpointError(
                f"{path}: a safetensors file, but not an {FORMAT}; give the folder of a run."
            )
        if metadata.get("version") != VERSION:
            raise CheckpointError(
                f"{path}: format version {check.printable(str(metadata.get('version')))}, but this nmmo-gpu "
                f"reads version {VERSION}; load the checkpoint with the version of nmmo-gpu that wrote it."
            )
        found = check.layout(file)
        digests = check.verified(metadata, found)
        config = check.config_from(metadata["config"])
        counters = check.counters_from(metadata["counters"])
        classes = check.classes_from(metadata["classes"])
        realms = config.env.realms
        shards = check.shards_from(metadata["shards"], path, realms)
        _expect_no_others(found, [name for name in found if name.split(".")[0] in PARTS], where=str(path))
        sharded = shards[0][0] != path.name
        if sharded and any(map(_of_realms, found)):
            raise ValueError("it has realms of its own as well as shards")
        check.check_world_layout(found, config, realms)
        check.check_policy_layout(found, config, classes.network)
        for name in filter(_of_realms, found):
            check.check_realms(name, found[name][0], realms)
        common = [name for name in found if not _of_realms(name)]
        if policy_only:
            common = [name for name in common if name.startswith("policy.")]
        tensors = check.read(file, common, digests)
    stored = Checkpoint(config, tensors, counters, classes, metadata.get("run", ""))
    if not policy_only:
        tensors |= _read_realms(path, shards, stored)
        _expect_no_others(
            [name for name in tensors if name.startswith("world.")],
            [f"world.{field.name}" for field in state_fields(config.env.world)], where=str(path),
        )  # fmt: skip
    return stored


def _read_realms(path: Path, shards: list[tuple[str, int, int]], stored: Checkpoint) -> dict[str, Tensor]:
    """Reads the tensors of this process's realms from the files that hold them, of which the digests of whole
    tensors are compared."""
    config = stored.config
    first, count = distributed.shards(config.env.realms, distributed.size())[distributed.rank()]
    pieces: dict[str, list[Tensor]] = {}
    for name, begin, length in shards:
        low, high = max(first, begin) - begin, min(first + count, begin + length) - begin
        if low >= high:
            continue
        with check.opened(path.with_name(name)) as file:
            metadata, found = file.metadata() or {}, check.layout(file)
            digests = check.verified(metadata, found)
            if name != path.name:
                identity = check.shard_identity(config, stored.counters, begin, length)
                if metadata.get("format") != SHARD_FORMAT or metadata.get("part") != identity:
                    raise ValueError(f"{name} is not the shard of this checkpoint")
                if not all(map(_of_realms, found)):
                    raise ValueError(f"{name} has tensors that are not of realms")
                check.check_world_layout(found, config, length)
            for key in filter(_of_realms, found):
                check.check_realms(key, found[key][0], length)
                whole = check.read(file, [key], digests)[key]
                rows = whole.shape[0] // length
                pieces.setdefault(key, []).append(whole[low * rows : high * rows])
    return {key: parts[0] if len(parts) == 1 else torch.cat(parts) for key, parts in pieces.items()}


def load_world(checkpoint: Checkpoint, device: torch.device) -> World:
    """Returns this process's realms of a checkpoint's world.

    Raises CheckpointError if the shapes of the tensors do not match the config."""
    # Copies: the tensors of a file share a buffer, in which an empty one begins where the next does.
    stored = checkpoint.part("world")
    return _world(checkpoint, {name: tensor.to(device, copy=True) for name, tensor in stored.items()})


def _world(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> World:
    """Returns a world of these tensors, which has the number of this process's first realm."""
    env = distributed.shard(checkpoint.config.env)
    sizes = World.sizes(env.world, env.realms)
    for field in state_fields(env.world):
        expect(tensors, field.name, field_shape(field, sizes), field.dtype)
    fields = {field.name: tensors[field.name] for field in state_fields(env.world)}
    _expect_no_others(tensors, fields, "world.")
    fields["seed"] = fields["seed"].clone()
    fields["seed"][1] = env.first_realm
    return World.of(env.world, fields)


def expect(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raises CheckpointError unless the named tensor exists with this shape and dtype."""
    tensor = tensors.get(name)
    found = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
    if found != (shape, dtype):
        raise check.misfit(name, found, shape, dtype)


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
