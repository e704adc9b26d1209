"""Checks of checkpoint files: digests, metadata, shapes and values.

A checkpoint may be damaged, or made to do harm. Sizes and metadata are checked before anything is built from
them, and values before any rule uses them as an index."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from nmmo_gpu.config.serialize import from_plain, parse_json
from nmmo_gpu.errors import CheckpointError
from nmmo_gpu.train import distributed
from nmmo_gpu.train.class_names import STOCK, ClassNames
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.symmetry import TURNS
from nmmo_gpu.world.network_inputs import codes
from nmmo_gpu.world.state import MAX_COUNT, World, field_shape, state_fields

MAX_HEADER = 16 << 20
"""Maximum size of a file's header in bytes; those of real checkpoints have some ten thousand."""
MAX_SECONDS = 1e12
COUNTERS = {"iteration": int, "agent_steps": int, "seconds": float, "schedule_scale": float}
"""Progress of a run: name and type of each counter. ``seconds`` is the training time, ``schedule_scale`` that
of ``Run``."""
DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32,
    "F64": torch.float64,
}  # fmt: skip
"""The dtypes that checkpoints may contain, by their names in safetensors."""
ALWAYS_POSITIVE = re.compile(r"optimizer\..*\.(step|exp_avg_sq|max_exp_avg_sq)|god\.(tally\..*|visits)")
"""Names of tensors whose values are never negative."""

# ------------------------------------------------------------------------------------------------- digests


def tensor_digest(name: str, tensor: Tensor) -> str:
    """Returns the SHA-256 (hex) of a tensor on the CPU, with its name, dtype and shape.

    SHA-256 is the fastest of hashlib's on processors with instructions for it."""
    sha = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
    sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def metadata_digest(metadata: Mapping[str, str]) -> str:
    """Returns the SHA-256 (hex) of all metadata except the digest itself."""
    covered = sorted((name, text) for name, text in metadata.items() if name != "digest")
    return hashlib.sha256(json.dumps(covered).encode()).hexdigest()


def sealed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """Returns a file's metadata with the digests of its tensors, which are on the CPU, and of itself."""
    digests = {name: tensor_digest(name, tensor) for name, tensor in tensors.items()}
    complete = {**metadata, "digests": json.dumps(digests)}
    return {**complete, "digest": metadata_digest(complete)}


# ------------------------------------------------------------------------------------------------ metadata


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A context with the safetensors file; refuses files whose header would take much memory."""
    if not path.is_file():
        raise ValueError("not a regular file")
    size = path.stat().st_size
    with open(path, "rb") as start:
        header = int.from_bytes(start.read(8), "little")
    if size < 8 or header > min(size - 8, MAX_HEADER):
        raise ValueError(f"a header of {header} bytes in a file of {size}")
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:
        yield file


def verified(metadata: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Returns the digest of each tensor from a file's metadata, whose own digest must be right.

    Args:
        metadata: the file's metadata.
        names: the names of the file's tensors, which must be those of the digests."""
    if metadata.get("digest") != metadata_digest(metadata):
        raise ValueError("the digest of the metadata is wrong")
    digests = parse_json(metadata["digests"])
    if not isinstance(digests, dict) or digests.keys() != set(names):
        raise ValueError("the digests are not those of the tensors in the file")
    return digests


def printable(text: str, most: int = 400) -> str:
    """Returns the text for a message: a damaged file can put anything into it."""
    shown = text if len(text) <= most else text[:most] + "..."
    return "".join(sign if sign.isprintable() else "?" for sign in shown)


def classes_from(text: str) -> ClassNames:
    """Returns the names of the classes from their JSON."""
    stored = parse_json(text)
    if not isinstance(stored, dict) or stored.keys() != set(ClassNames._fields):
        raise ValueError(f"the classes are not exactly {', '.join(ClassNames._fields)}")
    for part, name in stored.items():
        if not isinstance(name, str) or name != printable(name):
            raise ValueError(f"the name of the {part} is not printable, or too long")
    return ClassNames(**stored)


def config_from(text: str) -> TrainConfig:
    """Returns the settings from their JSON."""
    config = from_plain(TrainConfig, parse_json(text))
    assert isinstance(config, TrainConfig)
    return config


def counters_from(text: str) -> dict[str, float]:
    """Returns the counters from their JSON."""
    stored = parse_json(text)
    if not isinstance(stored, dict) or stored.keys() != COUNTERS.keys():
        raise ValueError(f"the counters are not exactly {', '.join(COUNTERS)}")
    for name, kind in COUNTERS.items():
        value, most = stored[name], MAX_COUNT if kind is int else MAX_SECONDS
        fits = type(value) is int or (kind is float and type(value) is float)
        if not fits or not 0 <= value <= most:
            raise ValueError(f"{name} = {value!r} is not {kind.__name__} from 0 to {most}")
    return {name: kind(stored[name]) for name, kind in COUNTERS.items()}


def shards_from(text: str, path: Path, realms: int) -> list[tuple[str, int, int]]:
    """Returns (file name, first realm, number of realms) of each file with realms, from their JSON.

    The files are next to the checkpoint file, and their realms are those of the run, each once."""
    stored = parse_json(text)
    if stored == []:
        return [(path.name, 0, realms)]
    if not isinstance(stored, list) or len(stored) > realms:
        raise ValueError("the shards are not a list, or more than the realms")
    expected = distributed.shards(realms, len(stored))
    shards = []
    for shard, part in zip(stored, expected, strict=True):
        if not isinstance(shard, list) or len(shard) != 3 or tuple(shard[1:]) != part:
            raise ValueError(f"shard {shard!r} does not hold {part[1]} realms from {part[0]} on")
        name = shard[0]
        # Only a plain name: no folder, no drive, nothing that a file system interprets.
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(path.suffix):
            raise ValueError(f"shard {name!r} is not the name of a file next to the checkpoint")
        if "\\" in name or not name.isprintable() or name == path.name:
            raise ValueError(f"shard {name!r} is not the name of a file next to the checkpoint")
        shards.append((name, *part))
    if len({name for name, _, _ in shards}) < len(shards):
        raise ValueError("two shards are the same file")
    return shards


def shard_identity(config: TrainConfig, counters: Mapping[str, float], first: int, count: int) -> str:
    """Returns what a shard's metadata says of the checkpoint that it belongs to, and of its part of it."""
    numbers = (config.env.seed, int(counters["iteration"]), int(counters["agent_steps"]), first, count)
    return " ".join(map(str, numbers))


# -------------------------------------------------------------------------------------------------- shapes


def layout(file: Any) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Returns shape and dtype of each tensor of a file by name, without reading the tensors."""
    found = {}
    for name in file.keys():  # noqa: SIM118
        part = file.get_slice(name)
        if name != printable(name) or part.get_dtype() not in DTYPES:
            raise ValueError(f"{name} is not the name of a tensor, or has the dtype {part.get_dtype()}")
        found[name] = tuple(part.get_shape()), DTYPES[part.get_dtype()]
    return found


def check_world_layout(
    found: Mapping[str, tuple[tuple[int, ...], torch.dtype]], config: TrainConfig, realms: int
) -> None:
    """Raises CheckpointError unless those tensors of a world that a file has fit the config, for the number
    of realms in the file."""
    sizes = World.sizes(config.env.world, realms)
    for field in state_fields(config.env.world):
        wanted = field_shape(field, sizes), field.dtype
        has = found.get(f"world.{field.name}", wanted)
        if has != wanted:
            raise misfit(field.name, has, *wanted)


def check_policy_layout(
    found: Mapping[str, tuple[tuple[int, ...], torch.dtype]], config: TrainConfig, network: str
) -> None:
    """Raises CheckpointError if the tensors of the policy show that the network that the config describes
    has another size: it is built before they are loaded into it. The optimizer's moments are like its
    parameters."""
    policy, populations = config.policy, config.env.world.populations
    shapes = {name: shape for name, (shape, _) in found.items() if name.startswith("policy.")}
    for name, moment in found.items():
        parameter, _, key = name.removeprefix("optimizer.").rpartition(".")
        parameter = f"policy.{parameter}"
        of_adam = name.startswith("optimizer.") and key.startswith("exp_avg")
        if of_adam and parameter not in found:
            raise misfit(parameter, None, *moment)
        if of_adam and found[parameter] != moment:
            raise misfit(name, moment, *found[parameter])
    if network == STOCK.network:
        world, width = config.env.world, policy.hidden // TURNS
        wanted = {
            "window": (populations, world.window**2, codes(world), width),
            "trunk": (populations, policy.layers, TURNS, width, width),
        }
        for name, shape in wanted.items():
            if shapes.get(f"policy.{name}") != shape:
                raise misfit(name, found.get(f"policy.{name}"), shape, torch.float32)
        return
    # Networks of other classes have at least one weight per unit and per layer.
    weights = sum(math.prod(shape) for shape in shapes.values())
    for name in ("hidden", "layers"):
        if getattr(policy, name) > weights:
            raise ValueError(f"{name} = {getattr(policy, name)}, but the policies have {weights} weights")


def check_realms(name: str, shape: tuple[int, ...], realms: int) -> None:
    """Raises ValueError unless the first dimension of a tensor holds equally many rows for each realm."""
    if not shape or shape[0] % realms:
        raise ValueError(f"{name} has the shape {shape}, for {realms} realms")


def misfit(
    name: str, found: tuple[tuple[int, ...], torch.dtype] | None, shape: tuple[Any, ...], dtype: torch.dtype
) -> CheckpointError:
    """Returns the error about a tensor that is missing, or has another shape or dtype."""
    has = "is missing" if found is None else f"is {found[1]} {found[0]}"
    return CheckpointError(
        f"checkpoint: {name} {has}, expected {dtype} {shape}; the checkpoint was written by another "
        "version or is damaged."
    )


# -------------------------------------------------------------------------------------------------- values


def read(file: Any, names: Iterable[str], digests: Mapping[str, str]) -> dict[str, Tensor]:
    """Reads tensors and compares their digests."""
    tensors = {}
    for name in names:
        tensor = file.get_tensor(name)
        if digests.get(name) != tensor_digest(name, tensor):
            raise ValueError(f"the digest of {name} is wrong")
        tensors[name] = tensor
    return tensors


def check_values(tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless numbers are finite, bools are 0 or 1, and counts are not negative."""
    for name, tensor in tensors.items():
        if not tensor.numel():
            continue
        if tensor.dtype == torch.bool:
            if int(tensor.contiguous().view(torch.uint8).max()) > 1:
                raise ValueError(f"{name} holds a byte that is neither true nor false")
            continue
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds a number that is not finite")
        if ALWAYS_POSITIVE.fullmatch(name) and bool((tensor < 0).any()):
            raise ValueError(f"{name} holds {tensor.min().item()}, less than 0")
