"""Economic counts of the full game, in worlds that are small enough to count by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import ODD, place, random_world

from nmmo_gpu.config import preset
from nmmo_gpu.content import GEAR, SKILLS
from nmmo_gpu.train.economy import economy_counts, economy_metrics, gini
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.reset import empty_world

RULES = preset("full", **ODD, slots=7, populations=7, npc_numbers=(3, 2, 1))
ITEM = {name: i for i, name in enumerate(RULES.tables.items)}


@pytest.fixture
def world():
    """Returns a new realm with three agents, a chicken and a bear on grass."""
    maps = torch.full((1, RULES.height, RULES.width), 2, dtype=torch.uint8)
    made = empty_world(RULES, maps, 3)
    for slot, column in ((0, 10), (2, 12), (5, 14), (7, 20), (12, 22)):
        place(made, 0, slot, 12, column)
    return made


def slow_gini(wealth: list[int]) -> float:
    """Computes the mean difference of all pairs over twice the mean."""
    n, mean = len(wealth), sum(wealth) / len(wealth)
    return sum(abs(a - b) for a in wealth for b in wealth) / (2 * n * n * mean)


def test_gini_is_the_mean_difference_of_all_pairs_of_living_agents():
    wealth = torch.tensor([[3, 0, 10, 999], [7, 7, 1, 0]])
    alive = torch.tensor([[True, True, True, False], [True, True, True, True]])
    expected = [slow_gini([3, 0, 10]), slow_gini([7, 7, 1, 0])]
    assert gini(wealth, alive).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("wealth, expected", [([5, 5, 5], 0.0), ([0, 0, 0], 0.0), ([0, 0, 9], 2 / 3)])
def test_gini_of_equal_zero_and_concentrated_wealth(wealth, expected):
    assert float(gini(torch.tensor([wealth]), torch.ones(1, 3, dtype=torch.bool))) == pytest.approx(expected)


def test_gini_without_agents_is_zero():
    assert float(gini(torch.tensor([[4, 2]]), torch.zeros(1, 2, dtype=torch.bool))) == 0.0


def test_only_living_agents_are_counted(world):
    world.level[0, 2, SKILLS.index("fishing")] = 4
    world.level[0, 1] = 77  # an empty slot
    world.worn[0, 5, GEAR.index("sword")] = 2
    world.worn[0, 6, GEAR.index("sword")] = 1
    world.gold[0, :] = 100
    world.offer[0, 0], world.offer_price[0, 0] = 1 + len(ITEM) + 4, 15  # bids 675
    found = economy_counts(world)
    assert int(found["living"]) == 3
    assert found["levels"].tolist() == [3, 3, 3, 3, 30, 6, 3, 3, 3]
    assert found["worn"].tolist() == [1, 0, 0]
    assert int(found["gold"]) == 3 * 100 + 675
    assert float(found["gini"]) == pytest.approx(3 * slow_gini([775, 100, 100]))
    assert found["npcs"].tolist() == [1, 0, 1]


def test_events_of_dead_agents_are_kept(world):
    world.events[0, 0, Event.EATEN] = 4
    world.events[0, 1, Event.EATEN] = 1000  # a dead agent's events, already in dead_totals
    world.dead_totals[0, Event.EATEN] = 1007
    assert int(economy_counts(world)["events"][Event.EATEN]) == 1011


def test_a_society_counts_what_happened_between_two_reports(world):
    before = economy_counts(world)
    world.events[0, 0, Event.SMITHED] += 3
    world.events[0, 2, len(Event) + 1] += 2
    world.ledger[0, ITEM["tin sword"], Flow.MADE] += 5
    world.ledger[0, -1, Flow.DROPPED] += 60
    world.ledger[0, -1, Flow.LOST] += 8
    world.trades[0, ITEM["iron ore"]] += torch.tensor([4, 30])
    world.npc_kills[0, 2] += 1
    found = economy_metrics(RULES, before, economy_counts(world), agent_steps=2000, realms=1)
    assert found["events/smithed"] == 1.5
    assert found["events/goblin kills"] == 1.0
    assert found["made/tin sword"] == 2.5 and found["made/tin ore"] == 0.0
    assert found["trades/iron ore"] == 2.0 and found["price/iron ore"] == 7.5
    assert "price/tin ore" not in found
    assert found["wealth/gold in"] == 30.0 and found["wealth/gold lost"] == 4.0
    assert found["killed/bear"] == 0.5 and found["npcs/chicken"] == 1.0
    assert found["level/total"] == 18.0 and found["level/constitution"] == 10.0
    assert found["wealth/gold"] == 10.0


def test_without_the_full_game_there_are_no_counts():
    assert economy_counts(random_world(preset("chaos", **ODD, slots=7, populations=7), 1, 5)) == {}


def test_counts_work_without_npcs_and_on_random_worlds():
    config = dataclasses.replace(RULES, npcs=False)
    world = random_world(config, 3, 5)
    found = economy_counts(world)
    assert found["npcs"].numel() == 0
    alive = world.agents(world.alive)
    wealth = world.gold.clone()
    for realm, slot in (world.offer > len(ITEM)).nonzero().tolist():
        wealth[realm, slot] += config.content.prices[int(world.offer_price[realm, slot])]
    realms = [owned[there].tolist() for owned, there in zip(wealth, alive, strict=True)]
    inequality = sum(slow_gini(owned) * len(owned) for owned in realms)
    assert float(found["gini"]) == pytest.approx(inequality, rel=1e-5)
