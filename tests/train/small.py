"""A training run that is small enough for tests, and helpers for its observations and rollouts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from support.helpers import GARBAGE, random_world
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig, preset
from nmmo_gpu.content import Material
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.checkpoint import Checkpoint
from nmmo_gpu.train.class_names import STOCK
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run, resume
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.network_inputs import FIRST_OCCUPANT
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

CPU = torch.device("cpu")
SYSTEMS = ("reach", "skills", "works", "rolls", "npcs", "exchange", "tokens")
FULL = {name: getattr(preset("full"), name) for name in SYSTEMS} | {"npc_numbers": (6, 5, 3)}
"""Settings that turn ``small``'s world into one of the full game with a few NPCs of every kind."""
NETWORKS = {"plain": False, "recurrent": True}
KINDS = [(recurrent, targeting) for recurrent in (False, True) for targeting in ("auto", "learned")]
"""Every kind of policy: (recurrent, targeting)."""


def small(run: str | Path = "unused", **settings: Any) -> TrainConfig:
    """Returns the config of a tiny run; ``settings`` are fields of any nested config."""
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
    """Returns an environment in which agents of 3 populations crowd and have fought for some ticks."""
    crowd = {"slots": 60, "populations": 3, "births": -1, "immune_ticks": 2, "nearest": 7, **settings}
    env = Env(small(**crowd).env)
    env.reset()
    for _ in range(ticks):
        env.step(random_actions(env))
    return env


def seen_in_a_random_world(
    config: WorldConfig, seed: int, realms: int = 3
) -> tuple[ObservationLayout, Tensor, World]:
    """Returns (layout, [R * A, bytes] records, world) of a random world."""
    world = random_world(config, realms, seed)
    layout = ObservationLayout(config)
    records = layout.allocate(realms, config.slots, device="cpu")
    seen = torch.full((realms, config.slots, config.nearest), -1, dtype=torch.int32)
    resolve("torch", CPU).observe(world, records, seen)
    return layout, records.view(-1, layout.bytes), world


def shout(policy: Policy, gain: float = 100.0) -> None:
    """Scales up the heads of a new policy: nearly uniform ones would hide the effects of recurrent state and
    input."""
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name in ("directional_head", "invariant_head", "query", "query_attributes", "extra_heads"):
                parameter.mul_(gain)


def randomize_biases(policy: Policy) -> None:
    """Draws random biases for a new policy, whose biases are zeros."""
    random = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=random))


def resume_as_stock(folder: Path, **limits: Any) -> tuple[TrainConfig, Checkpoint]:
    """Does what ``resume`` does for a run of a subclass that changes no number, and that is to go on with the
    stock classes."""
    config, stored = resume(str(folder), **limits)
    return config, dataclasses.replace(stored, classes=STOCK)


def state_of(run: Run) -> dict[str, Tensor]:
    """Copies all that a checkpoint keeps, and the counters that do not measure time."""
    kept = {name: tensor.clone() for name, tensor in run.checkpoint().tensors.items()}
    kept["counters"] = torch.tensor([run.iteration, run.agent_steps])
    return kept


def assert_equal_states(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Compares all tensors bit by bit; the error names the first that differs."""
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype and torch.equal(tensor, second[name]), name


def reloaded(run: Run, path: Path) -> Checkpoint:
    """Writes the run's checkpoint to a file and loads it."""
    checkpoints.save(path, run.checkpoint())
    return checkpoints.load(path, CPU)


def random_records(
    layout: ObservationLayout, rows: int, random: torch.Generator, occupants: int = 3
) -> Tensor:
    """Returns records with random materials and occupants in their windows, and garbage elsewhere."""
    records = layout.allocate(rows, device="cpu").fill_(GARBAGE)
    views = layout.views(records)
    for name, kinds in (("material", len(Material)), ("occupant", occupants)):
        drawn = torch.randint(kinds, views[name].shape, generator=random)
        # Half of the cells are grass without an occupant, as in most windows.
        usual = torch.rand(views[name].shape, generator=random) < 0.5
        views[name].copy_(drawn.masked_fill(usual, int(Material.GRASS) if name == "material" else 0))
    layout.clear_padding(records)
    return records


def whole_numbers(*shape: int, random: torch.Generator) -> Tensor:
    """Returns small whole numbers, whose sums are exact in float32 in any order."""
    return torch.randint(-50, 51, shape, generator=random).float()


def written_out(records: Tensor, index: Tensor, table: Tensor, layout: ObservationLayout) -> Tensor:
    """Computes the window embedding cell by cell."""
    views = layout.views(records)
    out = torch.zeros(*index.shape, table.shape[-1])
    for p, rows in enumerate(index.tolist()):
        for b, row in enumerate(rows):
            material = views["material"][row].flatten().tolist()
            occupant = views["occupant"][row].flatten().tolist()
            for cell, (ground, other) in enumerate(zip(material, occupant, strict=True)):
                if ground != Material.GRASS:
                    out[p, b] += table[p, cell, ground]
                if other:
                    out[p, b] += table[p, cell, FIRST_OCCUPANT + other]
    return out
