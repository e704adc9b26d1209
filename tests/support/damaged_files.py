"""Damaged copies of the files that nmmo-gpu reads: recordings, maps, configs and compiled loops.

Each function yields ``count`` pairs of a kind of damage and the bytes, the same for the same seed: bytes that
are changed, lost or added, and files that are well-formed but hold something else."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from replay.replays import noise, replay_header, write

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.replay.format import CHUNK, FRAM, HEAD, HEAT, MAGIC, PREAMBLE, TILE, VERSION, pack
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.world.tiled import save_tmx

Damaged = Iterator[tuple[str, bytes]]

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 0.5, 1e308, float("inf"), float("nan"), 1 << 31, 1 << 63, 10**400, "",
    "x", "\0", "\ud800", "a" * 5000, [], {}, [[]], [{}], {"a": 1}, [None], ["x"], [0] * 5000,
)  # fmt: skip
"""Values in place of others in JSON."""


def damaged_bytes(sound: bytes, random: random.Random) -> tuple[str, bytes]:
    """A kind of damage, and the bytes after it."""
    data, at = bytearray(sound), random.randrange(len(sound))
    length = random.randint(1, 64)
    kind = random.choice(
        ("flip", "flips", "cut", "lost", "added", "twice", "zeros", "noise", "other", "empty")
    )
    if kind == "flip":
        data[at] ^= 1 << random.randrange(8)
    elif kind == "flips":
        for _ in range(length):
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "lost":
        del data[at : at + length]
    elif kind == "added":
        data[at:at] = random.randbytes(length)
    elif kind == "twice":
        data[at:at] = data[at : at + length]
    elif kind == "zeros":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif kind == "noise":
        data[at : at + length] = random.randbytes(len(data[at : at + length]))
    elif kind == "other":
        data = bytearray(random.randbytes(length))
    else:
        data.clear()
    return kind, bytes(data)


def damaged_json(plain: Any, random: random.Random) -> tuple[str, str]:
    """JSON with another value, a lost or renamed field, or a field or row too many, somewhere."""
    plain = json.loads(json.dumps(plain))
    inside = plain
    while True:
        key = random.choice(list(inside)) if isinstance(inside, dict) else random.randrange(len(inside))
        deeper = inside[key]
        if not isinstance(deeper, (dict, list)) or not deeper or random.random() < 0.2:
            break
        inside = deeper
    kind = random.choice(("value", "value", "value", "lost", "renamed", "more", "deep"))
    if kind == "value":
        inside[key] = random.choice(VALUES)
    elif kind == "lost":
        del inside[key]
    elif kind == "renamed" and isinstance(inside, dict):
        inside["color \udfff"] = inside.pop(key)
    elif kind == "deep":
        inside[key] = "DEEP"
        depth = random.choice((10, 2000, 200_000))
        return kind, json.dumps(plain).replace('"DEEP"', "[" * depth + "]" * depth)
    elif isinstance(inside, dict):
        inside["color"] = random.choice(VALUES)
    else:
        inside.append(inside[key])
    return kind, json.dumps(plain)


def _mixed(
    sound: bytes, structured: Callable[[random.Random], tuple[str, bytes]] | None, count: int, seed: int
) -> Damaged:
    source = random.Random(seed)
    for number in range(count):
        if structured is not None and number % 2:
            yield structured(source)
        else:
            yield damaged_bytes(sound, source)


def sound_recording() -> bytes:
    """A recording of three chunks of frames."""
    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "sound.replay", {1: noise(1, 1), 2: noise(2, 2), 9: noise(1, 3)})


def damaged_recordings(count: int, seed: int = 0) -> Damaged:
    """Damaged ``.replay`` files."""
    sound = sound_recording()
    chunks, at = [], PREAMBLE.size
    while at < len(sound):
        type, stored, _, ticks, first = CHUNK.unpack_from(sound, at)
        payload = gzip.decompress(sound[at + CHUNK.size : at + CHUNK.size + stored])
        chunks.append((type, payload, ticks, first))
        at += CHUNK.size + stored
    line = json.dumps({"name": "v", "population": 0, "rows": 3, "cols": 4, "stride": 1, "about": ""})
    chunks.append((HEAT, line.encode() + b"\n" + bytes(48), 0, 9))

    def structured(source: random.Random) -> tuple[str, bytes]:
        parts = list(chunks)
        which = source.randrange(len(parts))
        type, payload, ticks, first = parts[which]
        kind = source.choice(("header", "header", "payload", "numbers", "order", "sizes"))
        if kind == "header":
            kind, text = damaged_json(replay_header(), source)
            parts[0] = (HEAD, text.encode(), 0, 0)
        elif kind == "payload":
            parts[which] = (type, damaged_bytes(payload, source)[1], ticks, first)
        elif kind == "numbers":
            numbers = (0, 1, 2, 3, 4096, 4097, (1 << 32) - 1)
            parts[which] = (
                type,
                payload,
                source.choice(numbers),
                source.choice(numbers) << source.choice((0, 30)),
            )
        elif kind == "order":
            parts[which] = source.choice(parts)
        bodies = [pack(*part) for part in parts]
        if kind == "sizes":
            body = bytearray(bodies[which])
            at = source.choice((4, 8, 12))
            body[at : at + 4] = source.randbytes(4)
            bodies[which] = bytes(body)
        return kind, PREAMBLE.pack(MAGIC, VERSION, 0) + b"".join(bodies)

    assert [type for type, *_ in chunks[:3]] == [HEAD, TILE, FRAM]
    return _mixed(sound, structured, count, seed)


def sound_map() -> bytes:
    """A map of 6 x 5 tiles, in CSV."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.tmx"
        save_tmx(path, torch.arange(30).remainder(7).to(torch.uint8).view(5, 6), picture=False)
        return path.read_bytes()


def damaged_maps(count: int, seed: int = 0) -> Damaged:
    """Damaged ``.tmx`` files."""
    sound = sound_map().decode()
    numbers = (
        "",
        "-1",
        "0",
        "1",
        "8",
        "6.5",
        "1e3",
        "8192",
        "8193",
        "4294967295",
        "4294967296",
        "9" * 5000,
        "x",
        "&a;",
    )
    encodings = ('"csv"', '"base64"', '"base64" compression="zlib"', '"base64" compression="gzip"', '"lz4"')
    tags = ("<tileset firstgid='1' source='../../none.tsx'/>", "<!DOCTYPE map>", "<chunk/>", "<tile/>",
            "<layer/>", "<data/>", "<map/>", "<!ENTITY a 'b'>", "<![CDATA[1,1]]>", "<!-- -->",
            "<?xml?>", "&#0;", "\ud7ff")  # fmt: skip

    def structured(source: random.Random) -> tuple[str, bytes]:
        kind = source.choice(("number", "gid", "encoding", "tag", "data", "utf"))
        text = sound
        if kind == "number":
            spots = list(re.finditer(r'(?<==")\d+(?=")', text))
            spot = source.choice(spots)
            text = text[: spot.start()] + source.choice(numbers) + text[spot.end() :]
        elif kind == "gid":
            spot = source.choice(list(re.finditer(r"(?<=[,\n])\d(?=[,\n])", text)))
            text = text[: spot.start()] + source.choice(numbers) + text[spot.end() :]
        elif kind == "encoding":
            text = text.replace('"csv"', source.choice(encodings))
        elif kind == "tag":
            at = source.choice([match.start() for match in re.finditer(r"[<>\n]", text)])
            text = text[:at] + source.choice(tags) + text[at:]
        elif kind == "data":
            packed = gzip.compress(source.randbytes(source.choice((0, 119, 120, 121, 5000))))
            start, end = text.index("\n1,") + 1, text.index("</data>")
            text = text[:start] + base64.b64encode(packed).decode() + text[end:]
            text = text.replace('"csv"', source.choice(encodings))
        else:
            name = source.choice(("utf-16", "utf-7", "cp037", "utf-32", "latin-1"))
            return kind, text.replace("UTF-8", name).encode(source.choice((name, "utf-8")))
        return kind, text.encode()

    return _mixed(sound.encode(), structured, count, seed)


def sound_config() -> bytes:
    """The ``config.json`` of a run of the full game."""
    return json.dumps(to_plain(TrainConfig(env=EnvConfig(world=preset("full")))), indent=2).encode()


def damaged_configs(count: int, seed: int = 0) -> Damaged:
    """Damaged ``config.json`` files."""
    plain = json.loads(sound_config())

    def structured(source: random.Random) -> tuple[str, bytes]:
        kind, text = damaged_json(plain, source)
        return kind, text.encode()

    return _mixed(sound_config(), structured, count, seed)


def damaged_cache_files(sound: bytes, count: int, seed: int = 0) -> Damaged:
    """Damaged copies of a compiled loop, a file of ``nmmo_gpu.cpu.compilation_cache``."""
    return _mixed(sound, None, count, seed)
