"""Systems that cannot be part of a CUDA graph are refused before a GPU would meet them, and only there."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from train.small import CPU, small

from nmmo_gpu.config import preset
from nmmo_gpu.config.systems import ActionSpec, ObservationSpec, System, phase
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trinity import God, Sword
from nmmo_gpu.train.trinity import god as gods
from nmmo_gpu.world.capturable import check_capturable


class OnGPU(str):
    """A device of the CPU that says it is a GPU."""

    type = "cuda"


class Pretending(gods.Env):
    """An environment that says it is on a GPU."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.device = OnGPU("cpu")


def system_of(**methods):
    return dataclass(frozen=True)(type("Own", (System,), methods))()


def is_dark(self, world):
    if world.tick > 3:  # waits for the device
        world.food.clamp_(max=9)


WAITING = system_of(dim=phase(after="upkeep")(is_dark))


def read(world, before):
    """A reward that waits for the device."""
    return torch.full(world.explored.shape, float(before.tick), dtype=torch.float32, device=world.device)


def server(**settings):
    config = small(
        **{"births": -1, "systems": (WAITING,), "backend": "triton", "check_actions": False, **settings}
    )
    return God(config, Sword(config, CPU))


@pytest.fixture
def gpu(monkeypatch):
    """Makes servers believe that their worlds are on a GPU."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("kernels run on the GPU, and these worlds on the CPU")
    monkeypatch.setattr(gods, "Env", Pretending)


def test_a_waiting_system_is_refused_on_a_gpu(gpu):
    """With its line, and what to do."""
    with pytest.raises(ConfigError) as refused:
        server()
    text = str(refused.value)
    assert re.search(r"test_system_graphs.py, line \d+: `if world.tick > 3:.*` cannot be captured", text)
    assert "graphs=False (--no-graphs)" in text


@pytest.mark.parametrize("settings", [{"graphs": False}, {"check": True}, {"systems": ()}])
def test_it_is_allowed_without_graphs(gpu, settings):
    """Which the settings exclude, or checking the world in each tick."""
    assert server(**settings).plays == {}


def test_a_waiting_reward_function_is_refused_on_a_gpu(gpu):
    with pytest.raises(ConfigError, match=r"float\(before.tick\).*` cannot be captured"):
        server(systems=(), reward=read)


def test_it_is_allowed_on_a_cpu():
    """Where nothing waits: the run plays and learns."""
    run = Run(small(systems=(WAITING,), reward=read, births=-1))
    run.iterate()
    assert (run.god.env.world.food <= 9).all() and run.god.rollout.reward.any()


@pytest.mark.parametrize(
    "methods",
    [
        {"observation": lambda self, config: {"x": ObservationSpec("x")},
         "observe": lambda self, world: {"x": torch.full((1, 1), int(world.tick) % 2, dtype=torch.uint8)}},
        {"edit_observation": lambda self, world, fields: fields["material"][world.alive].clone()},
        {"reward": lambda self, world, before: read(world, before)},
        {"scalars": lambda self, world: {"x": torch.tensor(float(world.alive.sum()))}},
    ],
    ids=["observe", "edit_observation", "reward", "scalars"],
)  # fmt: skip
def test_every_method_of_a_tick_is_checked(methods):
    config = small(systems=(system_of(**methods),)).env
    with pytest.raises(ConfigError, match=r"test_system_graphs.py, line \d+: .* cannot be captured"):
        check_capturable(config)


def test_masks_are_checked():
    methods = {
        "actions": lambda self, config: {"x": ActionSpec(2, "x")},
        "masks": lambda self, world: {"x": torch.ones(1, 1, 2, dtype=torch.bool) & bool(world.tick > 3)},
    }
    with pytest.raises(ConfigError, match="cannot be captured"):
        check_capturable(small(systems=(system_of(**methods),)).env)


def test_nothing_is_played_to_check(monkeypatch):
    """Systems run on tensors without values, and stock rules are not checked at all."""
    devices = []
    system = system_of(a=phase(after="upkeep")(lambda self, world: devices.append(world.device.type)))
    check_capturable(small(systems=(system,)).env)
    assert devices == ["meta", "meta"]
    monkeypatch.setattr("nmmo_gpu.world.capturable.meta_world", lambda config: pytest.fail("made a world"))
    check_capturable(small().env)
    assert preset("chaos").systems == ()
