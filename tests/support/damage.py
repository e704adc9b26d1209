"""Damaged copies of checkpoint files, and changed copies whose digests are right."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmmo_gpu.train.checkpoint_check import sealed

Tensors = dict[str, Tensor]
Metadata = dict[str, str]
Change = Callable[[Tensors, Metadata], Any]


def contents(path: Path) -> tuple[Tensors, Metadata]:
    """Returns the tensors and the metadata of a file."""
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def rewrite(path: Path, change: Change, seal: bool = True) -> None:
    """Rewrites a file after ``change(tensors, metadata)``, with the right digests unless ``seal`` is False: a
    checkpoint that was changed on purpose."""
    path.write_bytes(changed(*contents(path), change, seal))


def changed(tensors: Tensors, metadata: Metadata, change: Change, seal: bool = True) -> bytes:
    """Returns a file of copies of these tensors and metadata after ``change(tensors, metadata)``."""
    tensors, metadata = {name: tensor.clone() for name, tensor in tensors.items()}, dict(metadata)
    change(tensors, metadata)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if seal:
        given = {name: text for name, text in metadata.items() if name not in ("digest", "digests")}
        metadata = sealed(tensors, given)
    return safetensors.torch.save(tensors, metadata)


def changed_config(**values: Any) -> Change:
    """Returns a change of fields of the config; double underscores separate nested names."""

    def change(tensors: Tensors, metadata: Metadata) -> None:
        config = json.loads(metadata["config"])
        for name, value in values.items():
            *path, last = name.split("__")
            part = config
            for step in path:
                part = part[step]
            part[last] = value
        metadata["config"] = json.dumps(config)

    return change


def flipped(data: bytes, bit: int) -> bytes:
    """Returns the data with one bit changed."""
    copy = bytearray(data)
    copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)


def damaged(path: Path, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yields ``count`` damaged copies of a checkpoint file as (kind, bytes). Loading one raises
    CheckpointError.

    The kinds are accidents, after which digests are wrong, and "hostile" changes of tensors and metadata,
    after which they are right."""
    whole, draw = path.read_bytes(), random.Random(seed)
    tensors, metadata = contents(path)
    header = 8 + int.from_bytes(whole[:8], "little")

    def block() -> tuple[int, int]:
        length = min(draw.choice((1, 16, 512, 4096)), len(whole) - header)
        return draw.randrange(header, len(whole) - length + 1), length

    def overwritten(fill: Callable[[int], bytes]) -> bytes:
        at, length = block()
        return whole[:at] + fill(length) + whole[at + length :]

    def swapped() -> bytes:
        length = (len(whole) - header) // 4
        at = draw.randrange(header, len(whole) - 2 * length)
        one, other = whole[at : at + length], whole[at + length : at + 2 * length]
        return whole[:at] + other + one + whole[at + 2 * length :]

    accidents: dict[str, Callable[[], bytes]] = {
        "bit of the data": lambda: flipped(whole, draw.randrange(8 * header, 8 * len(whole))),
        "bit of the header": lambda: flipped(whole, draw.randrange(8 * header)),
        "bit of the length": lambda: flipped(whole, draw.randrange(64)),
        "truncated": lambda: whole[: draw.randrange(len(whole))],
        "extended": lambda: whole + draw.randbytes(draw.choice((1, 8, 4096))),
        "zeros": lambda: overwritten(bytes),
        "random bytes": lambda: overwritten(draw.randbytes),
        "swapped blocks": swapped,
    }
    kinds = [*accidents, *(f"hostile {name}" for name in HOSTILE)]
    yielded = 0
    while yielded < count:
        kind = kinds[yielded % len(kinds)] if yielded < len(kinds) else draw.choice(kinds)
        if kind in accidents:
            data = accidents[kind]()
        else:
            data = changed(tensors, metadata, HOSTILE[kind.removeprefix("hostile ")](draw))
        if data != whole:  # zeros over zeros, for example
            yield kind, data
            yielded += 1


def _texts(name: str, *texts: str) -> Callable[[random.Random], Change]:
    return lambda draw: lambda tensors, metadata: metadata.update({name: draw.choice(texts)})


def _value(names: str, *values: Any) -> Callable[[random.Random], Change]:
    """Returns a hostile change: one of the values somewhere in one of the tensors that have elements."""

    def choose(draw: random.Random) -> Change:
        def change(tensors: Tensors, metadata: Metadata) -> None:
            name = draw.choice([name for name in names.split() if tensors[name].numel()])
            flat = tensors[name].view(-1)
            flat[draw.randrange(flat.numel())] = draw.choice(values)

        return change

    return choose


def _structure(change: Callable[[Tensors, str], Any]) -> Callable[[random.Random], Change]:
    """Returns a hostile change of the structure of a random tensor of the world or the policy."""

    def choose(draw: random.Random) -> Change:
        def changes(tensors: Tensors, metadata: Metadata) -> None:
            names = sorted(name for name in tensors if name.startswith(("world.", "policy.w", "policy.t")))
            change(tensors, draw.choice(names))

        return changes

    return choose


def _config(**choices: list[Any]) -> Callable[[random.Random], Change]:
    """Returns a hostile change: one of the fields gets one of its values."""

    def choose(draw: random.Random) -> Change:
        name = draw.choice(sorted(choices))
        return changed_config(**{name: draw.choice(choices[name])})

    return choose


DEEP = "[" * 100_000
HUGE = 10**9
HOSTILE: dict[str, Callable[[random.Random], Change]] = {
    "position": _value("world.row world.col", -1, 10**6, -(1 << 31), (1 << 31) - 1),
    "occupant": _value("world.occupant", -1, 10**6, (1 << 31) - 1),
    "byte": _value("world.base world.material world.presence world.heading world.cause", 251, 255),
    "count": _value("world.deaths world.acted world.next_entity god.visits god.tally.sums", -1, -(1 << 63)),
    "number": _value("policy.window policy.trunk policy.value", float("nan"), float("inf"), -float("inf")),
    "moment": _value("optimizer.window.exp_avg_sq optimizer.window.step", -1.0, float("nan")),
    "bool": lambda draw: lambda tensors, metadata: tensors["world.alive"].view(torch.uint8).view(-1).fill_(7),
    "missing": _structure(lambda tensors, name: tensors.pop(name)),
    "longer": _structure(lambda tensors, name: tensors.update({name: torch.cat((tensors[name],) * 2)})),
    "dtype": _structure(lambda tensors, name: tensors.update({name: tensors[name].to(torch.float64)})),
    "extra": lambda draw: lambda tensors, metadata: tensors.update({"world.weather": torch.ones(4)}),
    "foreign": lambda draw: lambda tensors, metadata: tensors.update({"sword.more": torch.ones(4)}),
    "counters": _texts(
        "counters", "[]", "3", "{}", DEEP, '{"iteration": 1, "agent_steps": 5}', "\x00",
        '{"iteration": NaN, "agent_steps": 5, "seconds": 1}',
        '{"iteration": 1, "agent_steps": 5, "seconds": Infinity}',
        '{"iteration": 1, "agent_steps": 5, "seconds": 1e999}',
        '{"iteration": 1.5, "agent_steps": 5, "seconds": 1}',
        '{"iteration": true, "agent_steps": 5, "seconds": 1}',
        '{"iteration": -1, "agent_steps": 5, "seconds": 1}',
        f'{{"iteration": {10**30}, "agent_steps": 5, "seconds": 1}}',
    ),
    "config": _texts("config", "{", "null", "[]", "3", '"x"', DEEP, '{"env": ' * 50_000, '{"env": NaN}'),
    "shards": _texts(
        "shards", "{}", "null", "3", DEEP, '[["../../x.safetensors", 0, 2]]', "[[]]", '["x"]',
        '[["/etc/passwd", 0, 2]]', '[["..", 0, 2]]', '[["", 0, 2]]', '[["a.safetensors", 0, 1000000000]]',
        '[["a.safetensors", 0, 1], ["a.safetensors", 1, 1]]', '[["a.safetensors", -1, 3]]',
        '[["nowhere.safetensors", 0, 2]]', '[["checkpoint.safetensors", 0, 2]]', '[[3, 0, 2]]',
        '[["a\\u0000.safetensors", 0, 2]]', '[["x\\\\a.safetensors", 0, 2]]',
    ),
    "version": _texts("version", "7", "9", "8.0", ""),
    "classes": _texts(
        "classes", "{", "null", "[]", "3", '"x"', DEEP, "{}", '{"network": "a:B"}',
        '{"network": 3, "sword": "a:B", "god": "a:B", "pantheon": "a:B"}',
        '{"network": "a:B", "sword": "a:B", "god": "a:\\u001b", "pantheon": "a:B"}',
    ),
    "format": _texts("format", "pt", "nmmo-gpu checkpoint shard", ""),
    "size": _config(
        policy__hidden=[4 * 10**6, 10**7, 4 * HUGE], policy__layers=[2, HUGE], ppo__horizon=[HUGE, 10**30],
        env__realms=[1, 3, HUGE], env__world__slots=[8, HUGE], env__world__height=[41, 8192, HUGE],
        env__world__populations=[1, 4, HUGE], env__world__vision=[6], env__world__border=[39, HUGE],
    ),
    "setting": _config(
        color=["red"], env__world__gravity=[9.81], env__world=["flat", None, []], ppo__gamma=[None, "x", 2],
        policy__hidden=["wide", None, 8.0, -4], env__world__reach=[[1], {}, [[1], 2, 3], "abc"],
        env__world__content=[None, {}, {"items": [[]]}, {"items": [{"name": []}]}, {"prices": ["x"]}],
        env__world__works=[["fly"], [[]], 3], run=["", 3, None], record=[[9], [-1], [[0]], "x", [0, 0]],
        env__maps=[3, [3]], env__seed=[1 << 64, 0.5, "x"], minutes=[0, -1, "x"],
    ),
}  # fmt: skip
"""Changes that make a checkpoint invalid, by kind; each is drawn with ``Random``."""
