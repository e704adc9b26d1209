"""The cost of each adapter: its rate compared to the native environment's, in the same run and world."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.benchmarks.bench import BenchConfig, Work, machine, measure
from nmmo_gpu.config import EnvConfig
from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.env import Env
from nmmo_gpu.files import check_writable, replace_text

ACTIONS = 16
"""Number of random actions generated in advance and used in turn, so that generating them is not measured."""


def bench_adapters(config: BenchConfig, report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Measures the environment alone through each adapter.

    Adapters for many realms are measured on the first of ``batches``, those for one realm or one agent on one
    realm, each compared to the native environment. Adapters whose library is not installed are skipped.

    Args:
        config: what to measure.
        report: called with each row when it is measured.

    Returns the results, which are also written with hardware and versions. A row has ``name``, ``realms``,
    ``slots``, ``rate`` (agent-steps of living agents per second; for one agent, its own steps) and ``share``
    of the native rate."""
    if config.json is not None:
        check_writable(Path(config.json), "json")
    rows: list[dict[str, Any]] = []
    many = dataclasses.replace(config.env, realms=config.batches[0], check_actions=False)
    for env in (many, dataclasses.replace(many, realms=1)):
        native: float | None = None
        for name, make in (ONE_REALM if env.realms == 1 else BATCHED).items():
            try:
                work = make(env)
            except ImportError as error:
                report({"name": name, "missing": str(error)})
                continue
            steps, ticks = measure(work, config)
            rate = ticks if name == SINGLE else steps
            native = rate if native is None else native
            rows.append(
                {"name": name, "realms": env.realms, "slots": env.world.slots, "rate": rate}
                | {"share": rate / native if native else 0.0}  # in a world without agents, all rates are 0
            )
            report(rows[-1])
    result = {
        "what": "environment alone, agent-steps per second",
        "world": to_plain(config.env.world),
        "machine": machine(config.env.device),
        "results": rows,
    }
    if config.json is not None:
        replace_text(Path(config.json), json.dumps(result, indent=2) + "\n")
    return result


def _choices(sizes: tuple[int, ...], *shape: int, device: torch.device | str = "cpu") -> Iterator[Tensor]:
    """Yields random actions [*shape, heads] int64, without end."""
    heads = [
        torch.stack([torch.randint(n, shape, dtype=torch.int64, device="cpu") for n in sizes], -1).to(device)
        for _ in range(ACTIONS)
    ]
    return itertools.cycle(heads)


def _native(config: EnvConfig) -> Work:
    env = Env(config)
    env.reset()
    actions = _choices(env.action_sizes, config.realms, config.world.slots, device=env.device)
    return Work(lambda: env.step(next(actions)), env.world)


def _gymnasium(config: EnvConfig, output: str) -> Work:
    from nmmo_gpu.adapters.gymnasium import VectorEnv

    envs = VectorEnv(config, output=output)  # type: ignore[arg-type]
    envs.reset()
    assert envs.native is not None
    device = envs.device if output == "torch" else "cpu"
    actions = _choices(envs.native.action_sizes, envs.num_envs, device=device)
    if output == "torch":
        return Work(lambda: envs.step(next(actions)), envs.native.world)
    return Work(lambda: envs.step(next(actions).numpy()), envs.native.world)


def _torchrl(config: EnvConfig) -> Work:
    from nmmo_gpu.adapters.torchrl import TorchRLEnv

    env = TorchRLEnv(config)
    step_data = env.reset()
    actions = _choices(env.native.action_sizes, *env.batch_size, device=env.native.device)

    def step() -> None:
        nonlocal step_data
        step_data["action"] = next(actions)
        _, step_data = env.step_and_maybe_reset(step_data)

    return Work(step, env.native.world)


def _pettingzoo(config: EnvConfig) -> Work:
    from nmmo_gpu.adapters.pettingzoo import ParallelEnv

    env = ParallelEnv(config)
    env.reset()
    actions = _choices(env.native.action_sizes, config.world.slots)
    return Work(
        lambda: env.step(dict(zip(env.agents, next(actions).numpy(), strict=False))), env.native.world
    )


def _gymnasium_single(config: EnvConfig) -> Work:
    from nmmo_gpu.adapters.gymnasium import SingleAgentEnv

    def others(native: Env) -> Tensor:
        return next(actions)

    env = SingleAgentEnv(config, others=others)
    env.reset(seed=config.seed)
    assert env.native is not None
    actions = _choices(env.native.action_sizes, 1, config.world.slots)
    own = _choices(env.native.action_sizes)

    def step() -> None:
        if env.step(next(own).numpy())[2]:
            env.reset()

    return Work(step, env.native.world)


SINGLE = "Gymnasium, one agent"
BATCHED: dict[str, Callable[[EnvConfig], Work]] = {
    "native": _native,
    "Gymnasium, torch": lambda config: _gymnasium(config, "torch"),
    "Gymnasium, numpy": lambda config: _gymnasium(config, "numpy"),
    "TorchRL": _torchrl,
}
ONE_REALM: dict[str, Callable[[EnvConfig], Work]] = {
    "native": _native,
    "PettingZoo": _pettingzoo,
    SINGLE: _gymnasium_single,
}
