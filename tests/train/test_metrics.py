"""The tally of a world's ticks compared with lists kept by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from support.helpers import draw_world
from train.small import CPU, small

from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.train.metrics import LIFETIME_BINS, Tally, quantile
from nmmo_gpu.world.state import Cause


class ByHand:
    """Counts the same from outside, agent by agent, in lists."""

    def __init__(self):
        self.steps = {}
        self.lifetimes, self.explored, self.causes = [], [], []
        self.ticks = self.acted = self.attacks = self.damage = self.alive = 0
        self.state = {"food": 0, "water": 0, "health": 0}

    def note(self, env, actions, living, info, died):
        """Counts one tick: ``living`` holds (realm, slot, id) before it, the other arguments are what the
        step returned."""
        self.ticks += 1
        for realm, slot, entity in living:
            self.acted += 1
            self.attacks += int(actions[realm, slot, 2] > 0)
            self.steps[realm, entity] = self.steps.get((realm, entity), 0) + 1
            if died[realm, slot]:
                self.lifetimes.append(self.steps[realm, entity])
                self.explored.append(int(info["explored"][realm, slot]))
                self.causes.append(int(info["cause"][realm, slot]))
        self.damage += int(env.world.damage.sum())
        for realm, slot in env.world.alive.nonzero().tolist():
            self.alive += 1
            for name in self.state:
                self.state[name] += int(getattr(env.world, name)[realm, slot])


def living(env):
    """Returns the (realm, slot, id) of all living agents."""
    return [(r, s, int(env.world.entity[r, s])) for r, s in env.world.alive.nonzero().tolist()]


@pytest.mark.parametrize("births", [1, -1])
def test_the_summary_matches_lists_over_300_ticks(births):
    """All numbers agree for random agents that die of all causes."""
    realms = 3
    env = Env(small(realms=realms, slots=30, populations=3, births=births, immune_ticks=3).env)
    env.reset()
    tally, hand = Tally(CPU), ByHand()
    for _ in range(300):
        before, acted = living(env), env.world.alive.clone()
        actions = random_actions(env)
        _, _, died, _, info = env.step(actions)
        tally.add(env.world, acted, actions[..., 2] > 0)
        hand.note(env, actions, before, info, died)

    deaths = len(hand.lifetimes)
    assert deaths > 100 and hand.attacks > 100 and hand.damage > 100
    expected = {
        "population/alive per realm": hand.alive / 300 / realms,
        "population/deaths per tick and realm": deaths / 300 / realms,
        "state/food": hand.state["food"] / hand.alive,
        "state/water": hand.state["water"] / hand.alive,
        "state/health": hand.state["health"] / hand.alive,
        "combat/attacks per step": hand.attacks / hand.acted,
        "combat/damage per step": hand.damage / hand.acted,
        "agent_steps": hand.acted,
        "lifetime/mean": hand.acted / deaths,
        "lifetime/mean of the dead": sum(hand.lifetimes) / deaths,
        "lifetime/median": sorted(hand.lifetimes)[math.ceil(deaths / 2) - 1],
        "lifetime/90th percentile": sorted(hand.lifetimes)[math.ceil(Fraction(9, 10) * deaths) - 1],
        "exploration/tiles per life": sum(hand.explored) / deaths,
        "deaths/lava": hand.causes.count(Cause.LAVA) / deaths,
        "deaths/hunger": hand.causes.count(Cause.HUNGER) / deaths,
        "deaths/thirst": hand.causes.count(Cause.THIRST) / deaths,
        "deaths/combat": hand.causes.count(Cause.COMBAT) / deaths,
    }
    assert tally.summary() == pytest.approx(expected, rel=1e-12)
    assert int(env.world.acted.sum()) == hand.acted
    assert int(env.world.deaths.sum()) == deaths
    assert min(expected["deaths/lava"], expected["deaths/combat"]) > 0


def test_a_summary_without_deaths():
    """It has no numbers about deaths and divides by zero nowhere, even before the first tick."""
    world = draw_world("0.1", realms=2)
    tally = Tally(CPU)
    empty = tally.summary()
    tally.add(world, world.alive, torch.zeros_like(world.alive))
    found = tally.summary()
    for summary in (empty, found):
        assert not [name for name in summary if name.startswith(("lifetime", "deaths/", "exploration"))]
    assert empty["population/alive per realm"] == 0 and empty["agent_steps"] == 0
    assert found["population/alive per realm"] == 2 and found["agent_steps"] == 4
    assert found["population/deaths per tick and realm"] == 0
    assert found["state/health"] == world.config.max_health


def test_who_is_counted():
    """Deaths count for agents that acted, and attacks for living agents. A lifetime beyond the last bin
    counts in the last bin."""
    world = draw_world("0123")
    world.alive[0, :3] = False
    world.cause[0] = torch.tensor([Cause.LAVA, Cause.COMBAT, Cause.HUNGER, 0])
    world.age[0] = torch.tensor([LIFETIME_BINS + 900, 7, 5, 9])
    world.explored[0] = torch.tensor([50, 6, 4, 8])
    acted = torch.tensor([[True, True, False, True]])
    tally = Tally(CPU)
    tally.add(world, acted, torch.tensor([[True, False, True, False]]))
    found = tally.summary()
    assert found["agent_steps"] == 3 and found["combat/attacks per step"] == 1 / 3
    assert found["lifetime/mean"] == 1.5
    assert found["lifetime/mean of the dead"] == (LIFETIME_BINS + 907) / 2
    assert found["lifetime/median"] == 7 and found["lifetime/90th percentile"] == LIFETIME_BINS - 1
    assert found["exploration/tiles per life"] == 28
    assert [found[f"deaths/{cause}"] for cause in ("lava", "hunger", "thirst", "combat")] == [0.5, 0, 0, 0.5]


@hypothesis.given(
    values=st.lists(st.integers(0, 30), min_size=1, max_size=200),
    share=st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(1, 4), Fraction(1)]),
)
@hypothesis.settings(max_examples=200)
def test_quantile_matches_the_sorted_list(values, share):
    """It is the smallest value with at least that share of all values at or below it."""
    histogram = torch.bincount(torch.tensor(values), minlength=31)
    assert quantile(histogram, float(share)) == sorted(values)[math.ceil(share * len(values)) - 1]


def test_reset_clears_the_state_in_place():
    """A checkpoint keeps the state's tensors by name and restores them in place; after reset they are
    zero."""
    world = draw_world("01")
    world.cause[0, 0], world.alive[0, 0] = int(Cause.THIRST), False
    tally, other = Tally(CPU), Tally(CPU)
    tally.add(world, torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool))
    state = tally.state()
    assert state.keys() == {"lifetimes", "sums", "causes"}
    for name, into in other.state().items():
        into.copy_(state[name])
    assert other.summary() == tally.summary() and "lifetime/mean" in other.summary()
    tally.reset()
    assert tally.summary() == Tally(CPU).summary() != other.summary()
    assert all(
        now is before and not now.any()
        for now, before in zip(tally.state().values(), state.values(), strict=True)
    )
