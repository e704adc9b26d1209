"""Talk: a token is kept for a tick, counted, and seen by all that see the speaker."""

from __future__ import annotations

import pytest
import torch
from support.helpers import GARBAGE, draw_world, orders

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.env import Env
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import Cause
from nmmo_gpu.world.talk import talk


def speakers(**settings):
    """Returns three agents and two empty slots in two realms; all have said 5 before."""
    world = draw_world("0.1.2", "law", realms=2, **{"slots": 5, "tokens": 8, **settings})
    if world.config.extended:
        world.token.fill_(5)
        world.events.fill_(40)
    return world


def says(*tokens, realms=2):
    return torch.tensor([tokens] * realms)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_tokens_are_kept_and_silence_is_not_counted(dtype):
    """Also from a column of a wider action tensor; tokens of empty slots have no effect."""
    world = speakers()
    actions = torch.full((2, 5, 3), 9, dtype=dtype)
    actions[..., 1] = says(3, 0, 7, 4, 6)
    actions[1, 1, 1] = 1
    before = world.clone()
    talk(world, actions[..., 1])
    assert world.token.tolist() == [[3, 0, 7, 0, 0], [3, 1, 7, 0, 0]]
    assert world.events[..., Event.SPOKEN].tolist() == [[41, 40, 41, 40, 40], [41, 41, 41, 40, 40]]
    changed = {
        name for (name, a), (_, b) in zip(world.tensors(), before.tensors(), strict=True) if (a != b).any()
    }
    assert changed == {"token", "events"}
    others = [event for event in range(world.events.shape[2]) if event != Event.SPOKEN]
    assert torch.equal(world.events[..., others], before.events[..., others])


def test_a_tick_keeps_its_tokens_and_no_earlier_ones():
    """Agents that are given no token are silent."""
    world = speakers()
    tick.step(world, Backend(), *orders(world), token=says(3, 0, 7, 0, 0))
    assert world.token.tolist() == [[3, 0, 7, 0, 0]] * 2
    tick.step(world, Backend(), *orders(world), token=says(0, 2, 0, 0, 0))
    assert world.token.tolist() == [[0, 2, 0, 0, 0]] * 2
    tick.step(world, Backend(), *orders(world))
    assert not world.token.any()
    assert world.events[0, :, Event.SPOKEN].tolist() == [41, 41, 41, 40, 40]


def test_a_dying_agent_speaks_in_its_last_tick():
    """A newborn in its slot has said nothing."""
    world = draw_world("0^.1", "law", slots=2, tokens=8, births=-1)
    world.events.zero_()
    tick.step(world, Backend(), *orders(world, move={0: "east"}), token=says(6, 1, realms=1))
    assert world.cause[0].tolist() == [Cause.LAVA, 0] and world.token[0].tolist() == [6, 1]
    assert world.dead_totals[0, Event.SPOKEN] == 1, "counted in the totals of dead agents"
    while not world.alive[0, 0]:
        tick.step(world, Backend(), *orders(world), token=says(0, 1, realms=1))
    assert world.token[0].tolist() == [0, 1] and world.events[0, 0, Event.SPOKEN] == 0


def test_without_tokens_there_is_neither_head_nor_talk():
    mute = speakers(tokens=0)
    assert "token" not in action_heads(mute.config) and mute.token.shape == (2, 0)
    tick.step(mute, Backend(), *orders(mute), token=says(3, 0, 7, 0, 0))
    other = speakers(tokens=0, exchange=True)
    nothing = torch.zeros(2, 5, dtype=torch.int64)
    tick.step(other, Backend(), *orders(other), None, nothing, nothing, says(3, 0, 7, 0, 0))
    assert (other.token[:, :3] == 5).all() and (other.events[..., Event.SPOKEN] == 40).all()
    assert action_heads(speakers(tokens=2).config)["token"] == 2


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_token_is_seen_at_the_end_of_the_tick_by_all_that_see_the_speaker(backend):
    """1 is two tiles from 0; 2 is out of 0's view."""
    world = draw_world("0.1......2", "law", tokens=8)
    env = Env(EnvConfig(world=world.config, realms=1, device="cpu", backend=backend), world)
    actions = torch.zeros(1, 3, 4, dtype=torch.int64)
    actions[0, :, 3] = torch.tensor([4, 7, 3])
    assert list(env.action_heads) == ["move", "style", "target", "token"]
    out = env.layout.allocate(1, 3, device="cpu").fill_(GARBAGE)
    obs, *_ = env.step(actions, out=out)
    seen = obs["entity_attributes"][0, :, :, 5]
    assert seen[0].tolist()[:2] == [7, 0] and seen[1].tolist()[:3] == [4, 3, 0] and seen[2].tolist()[0] == 7
    assert obs["token_mask"].all() and obs["token_mask"].shape == (1, 3, 8)
