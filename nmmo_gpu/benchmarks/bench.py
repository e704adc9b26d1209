"""Speed of the environment alone, of the environment with a policy, and of the whole training."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.bounds import Bounds, check_fields, refuse
from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.env import Env
from nmmo_gpu.files import check_writable, replace_text
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig
from nmmo_gpu.train.cuda_graphs import WARM_UP, GraphedCallable
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import God, Sword
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.memory import release
from nmmo_gpu.world.state import World

COLUMNS = ("environment", "+ policy", "+ training")
"""Each column includes the previous one. All are agent-steps of living agents per second."""

GRID_SLOTS = (128, 1024, 16_384, 131_072, 1 << 20)
GRID_AGENTS = (1 << 14, 1 << 17, 1 << 20)
"""Numbers of slots per realm and of slots in total that ``grid`` combines."""

TICKS_REPLAYED = 16
"""Ticks in a CUDA graph when the environment is measured on a GPU."""


@dataclass(frozen=True)
class BenchConfig:
    """Settings of a measurement."""

    env: EnvConfig
    """The world; its number of realms is replaced by each of ``batches``."""
    policy: PolicyConfig
    """The network."""
    ppo: PPOConfig
    """The learner."""
    batches: tuple[Annotated[int, Bounds(ge=1)], ...] = (32, 64, 128, 256)
    """Numbers of realms to try."""
    grid: bool = False
    """Instead of ``batches``, measure realms of 128 to a million slots, 16 k to a million slots in total, on
    maps with the same area per slot."""
    largest: Annotated[int, Bounds(ge=1)] = 1 << 20
    """Maximum total number of slots that ``grid`` tries."""
    adapters: bool = False
    """Instead of the columns, measure the environment through each adapter, on the first of ``batches``."""
    columns: Literal["environment", "policy", "training"] = "training"
    """The last of the three columns to measure."""
    repeats: Annotated[int, Bounds(ge=1)] = 5
    """Number of timed runs; the result is their median."""
    seconds: Annotated[float, Bounds(gt=0)] = 1.0
    """Approximate duration of each timed run."""
    json: str | None = None
    """File for the results, with hardware and versions; written after each row."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.batches:
            refuse(self, "batches", "is empty", "give at least one number of realms")


class Work(NamedTuple):
    """A function to be timed."""

    run: Callable[[], Any]
    """The function; it does not wait for the device."""
    world: World
    """The world, which counts the agent-steps (``acted``) and ticks."""


def bench(config: BenchConfig, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measures each world, reports each row when it is done, and returns and writes all results.

    Raises ConfigError, before anything is measured, if a world cannot be trained in and training is a column,
    or if the file for the results cannot be written."""
    trains = [TrainConfig(env=env, policy=config.policy, ppo=config.ppo) for env in settings(config)]
    for train in trains if config.columns == "training" else ():
        train.check_training()
    if config.json is not None:
        check_writable(Path(config.json), "json")
    rows: list[dict[str, Any]] = []
    result = {
        "what": "agent-steps of living agents per second; ticks per second of the environment alone",
        "world": to_plain(config.env.world),
        "policy": dataclasses.asdict(config.policy),
        "ppo": dataclasses.asdict(config.ppo),
        "backend": resolve(config.env.backend, resolve_device(config.env.device)).name,
        "machine": machine(config.env.device),
        "results": rows,
    }
    for train in trains:
        env = train.env
        row: dict[str, Any] = {"realms": env.realms, "slots": env.world.slots, "side": env.world.height}
        works = (partial(_environment, env), partial(_with_policy, train), partial(_training, train))
        for column, work in zip(COLUMNS, works, strict=True):
            release()  # the previous column's memory, so that only the largest column must fit
            row[column], ticks = measure(work(), config)
            row.setdefault("ticks/s", ticks)
            if column.endswith(config.columns):
                break
        rows.append(row)
        report(row)
        if config.json is not None:
            replace_text(Path(config.json), json.dumps(result, indent=2) + "\n")
    return result


def settings(config: BenchConfig) -> list[EnvConfig]:
    """Returns the worlds to measure, in order."""
    if not config.grid:
        return [dataclasses.replace(config.env, realms=realms) for realms in config.batches]
    grid = []
    for agents in GRID_AGENTS:
        for slots in GRID_SLOTS:
            if slots <= agents <= config.largest:
                world_config = with_room(config.env.world, slots)
                grid.append(dataclasses.replace(config.env, world=world_config, realms=agents // slots))
    return grid


def with_room(config: WorldConfig, slots: int) -> WorldConfig:
    """Returns the same rules with another number of slots, on a map with the area per slot of ``million``.

    Agents are born anywhere on the map, because the ring of a large map is too short."""
    if slots == config.slots:
        return config
    side = math.isqrt(64 * slots)
    return dataclasses.replace(config, slots=slots, height=side, width=side, spawn="anywhere")


def machine(device: str) -> dict[str, Any]:
    """Returns hardware and versions, to be stored with the results."""
    where = resolve_device(device)
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as info:
            names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
        cpu = names[0] if names else cpu
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("triton", "numba"):
        try:
            versions[package] = __import__(package).__version__
        except ImportError:
            versions[package] = "not installed"
    return {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
        "cpu": cpu,
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "date": datetime.date.today().isoformat(),
    }


def _environment(config: EnvConfig) -> Work:
    """Ticks with random actions generated on the device, with observations written."""
    env = Env(dataclasses.replace(config, check_actions=False))
    env.reset()
    shape = (config.realms, config.world.slots)

    def tick() -> None:
        heads = [torch.randint(n, shape, dtype=torch.uint8, device=env.device) for n in env.action_sizes]
        # Written to one buffer, as a graph requires; no other tick reads it.
        env.step(torch.stack(heads, -1), out=env.records)

    if env.device.type == "cpu":
        return Work(tick, env.world)

    def ticks() -> None:
        for _ in range(TICKS_REPLAYED):
            tick()

    return Work(GraphedCallable(ticks, env.device, env.backend.capturable), env.world)


def _with_policy(config: TrainConfig) -> Work:
    """Rollouts without learning."""
    sword = Sword(config, resolve_device(config.env.device))
    god = God(config, sword)
    return Work(god.collect, god.env.world)


def _training(config: TrainConfig) -> Work:
    run = Run(config)
    return Work(run.iterate, run.god.env.world)


def measure(work: Work, config: BenchConfig) -> tuple[float, float]:
    """Returns (agent-steps per second, ticks per second), medians of several timed runs after a warm-up."""

    def timed(calls: int) -> tuple[int, int, float]:
        steps, ticks = _counts(work.world)  # waits for the device
        start = time.perf_counter()
        for _ in range(calls):
            work.run()
        steps_after, ticks_after = _counts(work.world)
        return steps_after - steps, ticks_after - ticks, time.perf_counter() - start

    timed(WARM_UP + 1)
    seconds = timed(2)[2]
    calls = max(1, round(config.seconds / (seconds / 2)))
    runs = [timed(calls) for _ in range(config.repeats)]
    return (
        statistics.median(steps / seconds for steps, _, seconds in runs),
        statistics.median(ticks / seconds for _, ticks, seconds in runs),
    )


def _counts(world: World) -> tuple[int, int]:
    """Returns (agent-steps, ticks) so far."""
    return int(world.acted.sum()), int(world.tick)
