"""A training run small enough for tests, and what its observations and rollouts look like."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run

CPU = torch.device("cpu")
MEMORIES = {"plain": False, "recurrent": True}
KINDS = [(recurrent, targeting) for recurrent in (False, True) for targeting in ("auto", "learned")]
"""Every kind of policy: (recurrent, targeting)."""


def small(run: str | Path = "unused", **settings: Any) -> TrainConfig:
    """A tiny run; fields of any nested config by name."""
    values: dict[str, Any] = {
        "height": 40, "width": 40, "slots": 16, "populations": 2, "realms": 2, "seed": 3, "device": "cpu",
        "hidden": 8, "horizon": 8, "epochs": 1, "minibatches": 2, "learning_rate": 3e-3, "run": str(run),
        **settings,
    }  # fmt: skip

    def part(kind: Any, **more: Any) -> Any:
        names = {field.name for field in dataclasses.fields(kind)}
        chosen = {name: values.pop(name) for name in list(values) if name in names}
        return kind(**chosen, **more)

    env = part(EnvConfig, world=part(WorldConfig))
    config: TrainConfig = part(TrainConfig, env=env, policy=part(PolicyConfig), ppo=part(PPOConfig))
    assert not values, f"no config has {list(values)}"
    return config


def lively_env(ticks: int = 25, **settings: Any) -> Env:
    """An environment in which agents of 3 populations crowd, and have fought for some ticks."""
    crowd = {"slots": 60, "populations": 3, "births": -1, "immune_ticks": 2, "nearest": 7, **settings}
    env = Env(small(**crowd).env)
    env.reset()
    for _ in range(ticks):
        env.step(random_actions(env))
    return env


def shout(policy: Policy, gain: float = 100.0) -> None:
    """Makes a fresh policy's heads loud: nearly uniform ones would hide what memory and input do."""
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name in ("go", "steady", "query"):
                parameter.mul_(gain)


def state_of(run: Run) -> dict[str, Tensor]:
    """Copies of all that a checkpoint keeps, and the counters that are not about time."""
    kept = {name: tensor.clone() for name, tensor in run.checkpoint().tensors.items()}
    kept["counters"] = torch.tensor([run.iteration, run.agent_steps])
    return kept


def assert_equal_states(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Every tensor equal to the last bit; names the first that is not."""
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name


def reloaded(run: Run, path: Path) -> Checkpoint:
    """The run's checkpoint, by way of a file."""
    checkpoints.save(path, run.checkpoint())
    return checkpoints.load(path, CPU)
