"""How fast it runs: environment alone, with a policy, and the whole training."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.device import resolve_device
from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig
from nmmo_gpu.train.run import Run
from nmmo_gpu.trinity import Sword
from nmmo_gpu.world.rules import resolve

COLUMNS = ("environment", "+ policy", "+ training")
"""Each adds to the one before it. All are agent-steps of living agents per second."""


@dataclass(frozen=True)
class BenchConfig:
    """What to measure."""

    env: EnvConfig
    """The world; its number of realms is replaced by each of ``batches``."""
    policy: PolicyConfig
    """The network."""
    ppo: PPOConfig
    """The learner."""
    batches: tuple[int, ...] = (32, 64, 128, 256)
    """Numbers of realms to try."""
    repeats: int = 5
    """Timed runs, of which the median counts."""
    seconds: float = 1.0
    """Length of each timed run, about."""
    json: str | None = None
    """File for the results, with hardware and versions."""


def bench(config: BenchConfig, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measures each batch size, reports each as it is done, and returns (and writes) everything."""
    if config.json is not None:
        _check_writable(Path(config.json))
    rows = []
    for realms in config.batches:
        env = dataclasses.replace(config.env, realms=realms)
        train = TrainConfig(env=env, policy=config.policy, ppo=config.ppo)
        row = {
            "realms": realms,
            "slots": env.world.slots,
            "environment": _measure(_environment(env), config),
            "+ policy": _measure(_with_policy(train), config),
            "+ training": _measure(_training(train), config),
        }
        rows.append(row)
        report(row)
    result = {
        "what": "agent-steps of living agents per second",
        "rules": dataclasses.asdict(config.env.world),
        "policy": dataclasses.asdict(config.policy),
        "ppo": dataclasses.asdict(config.ppo),
        "backend": resolve(config.env.backend, resolve_device(config.env.device)).name,
        "machine": machine(config.env.device),
        "results": rows,
    }
    if config.json is not None:
        Path(config.json).write_text(json.dumps(result, indent=2) + "\n")
    return result


def machine(device: str) -> dict[str, Any]:
    """Hardware and versions, for results that are kept."""
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
        "system": platform.platform(),
        "versions": versions,
        "date": datetime.date.today().isoformat(),
    }


def _environment(config: EnvConfig) -> Callable[[], int]:
    """One tick with random actions made on the device, observations written; returns the living."""
    env = Env(dataclasses.replace(config, check_actions=False))
    env.reset()
    shape = env.world.alive.shape

    def tick() -> int:
        actions = torch.stack([torch.randint(n, shape, device=env.device) for n in env.action_sizes], -1)
        acted = env.world.acted.sum()
        env.step(actions)
        return int(env.world.acted.sum() - acted)

    return tick


def _with_policy(config: TrainConfig) -> Callable[[], int]:
    env = Env(dataclasses.replace(config.env, check_actions=False))
    env.reset()
    sword = Sword(config, env.device)
    memory = sword.policy.initial_state(env.world.alive.numel(), env.device)

    def tick() -> int:
        alive = int(env.world.alive.sum())
        env.step(sword.decide(env.records, env.world, memory).actions)
        return alive

    return tick


def _training(config: TrainConfig) -> Callable[[], int]:
    run = Run(config)

    def iteration() -> int:
        before = run.agent_steps
        run.iterate()
        return run.agent_steps - before

    return iteration


def _measure(work: Callable[[], int], config: BenchConfig) -> float:
    """Median rate of several timed runs, after a warm-up."""
    cuda = torch.cuda.is_available()

    def timed(calls: int) -> tuple[int, float]:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        done = sum(work() for _ in range(calls))
        if cuda:
            torch.cuda.synchronize()
        return done, time.perf_counter() - start

    timed(3)
    _, once = timed(2)
    calls = max(1, round(config.seconds / (once / 2)))
    rates = []
    for _ in range(config.repeats):
        done, seconds = timed(calls)
        rates.append(done / seconds)
    return statistics.median(rates)


def _check_writable(path: Path) -> None:
    try:
        with open(path, "a"):
            pass
    except OSError as error:
        raise ConfigError(
            f"json = {str(path)!r} cannot be written ({error.strerror}); choose a file that you may write."
        ) from error
