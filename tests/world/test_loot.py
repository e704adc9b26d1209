"""Loot: who gets what, what is lost, what NPCs drop, and who made the kill."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.goods import draw_workers, give, happened, held, with_more
from support.helpers import ODD, assert_same, chi_square, draw_world, random_orders, random_world

from nmmo_gpu.config import preset
from nmmo_gpu.content import STANDARD, Drop, Item, NPCKind
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.ledger import check_ledger, holdings
from nmmo_gpu.world.random import Stream, draw
from nmmo_gpu.world.state import Cause, World


def slay(world: World, step_actions: dict[int, int], cause: Cause = Cause.COMBAT) -> None:
    """Kills victims, each with its top_attacker, as combat and upkeep do."""
    for victim, top_attacker in step_actions.items():
        world.cause[:, victim] = cause
        world.top_attacker[:, victim] = top_attacker
        world.health[:, victim] = 0


def goods(world: World, slot: int, realm: int = 0) -> dict[str, int]:
    """Returns what an agent has, including gold."""
    return {**held(world, slot, realm), "gold": int(world.gold[realm, slot])}


def with_new_ledger(world: World) -> World:
    """Returns the world with a new ledger: all that exists was made or given at birth."""
    world.ledger.zero_()
    there = holdings(world)
    world.ledger[..., Flow.MADE] = there
    return world


def booked(world: World, flow: Flow) -> dict[str, int]:
    """Returns what was added or removed by one flow, including gold."""
    names = (*world.config.tables.items, "gold")
    counts = world.ledger[0, :, flow].tolist()
    return {name.replace(" ", "_"): n for name, n in zip(names, counts, strict=True) if n}


def lost(world: World) -> dict[str, int]:
    return booked(world, Flow.LOST)


def test_the_killer_gets_gold_and_goods(any_backend):
    world = give(give(draw_workers("01"), 0, tin_ore=3, tin_knife=7), 1, tin_ore=2, raw_shrimp=1)
    world.gold[0] = torch.tensor([70, 5])
    with_new_ledger(world)
    slay(world, {0: 1})
    any_backend.loot(world)
    assert goods(world, 0) == {"gold": 0}
    assert goods(world, 1) == {"tin_ore": 5, "raw_shrimp": 1, "tin_knife": 7, "gold": 75}
    assert happened(world, 1) == {"agents_killed": 1} and happened(world, 0) == {}
    assert lost(world) == {}
    any_backend.burial(world)
    check_ledger(world)


def test_items_are_taken_in_order_while_they_fit(any_backend):
    """Capacity 28 with 24 held leaves room for four. Weightless items always fit, and the rest is lost."""
    dead = {"copper_ore": 1, "tin_ore": 2, "raw_shrimp": 3, "copper_knife": 40, "iron_knife": 1}
    world = give(give(draw_workers("01"), 0, copper_armor=5, **dead), 1, iron_sword=24, tin_knife=3)
    with_new_ledger(world)
    slay(world, {0: 1})
    any_backend.loot(world)
    assert held(world, 1) == {
        "copper_ore": 1, "tin_ore": 2, "raw_shrimp": 1, "iron_sword": 24, "copper_knife": 40, "tin_knife": 3,
        "iron_knife": 1,
    }  # fmt: skip
    assert lost(world) == {"raw_shrimp": 2, "copper_armor": 5}
    assert held(world, 0) == {}
    any_backend.burial(world)
    check_ledger(world)


@pytest.mark.parametrize("room", [-2, 0, 1, 3, 28])
def test_room_limits_how_much_of_an_item_is_taken(any_backend, room):
    """An agent that already exceeds its capacity takes nothing."""
    world = give(give(draw_workers("01"), 0, iron_ore=20), 1, tin_ore=28 - room)
    slay(world, {0: 1})
    any_backend.loot(world)
    fits = min(max(room, 0), 20)
    assert held(world, 1).get("iron_ore", 0) == fits
    assert lost(world) == ({"iron_ore": 20 - fits} if fits < 20 else {})


@pytest.mark.parametrize(("offer", "fits"), [
    ("", 3), ("sell tin ore", 2), ("buy tin ore", 2), ("sell tin knife", 3), ("buy tin knife", 3),
])  # fmt: skip
def test_the_killers_own_offer_reserves_a_unit_of_room(any_backend, offer, fits):
    """If its item has weight; an offer of knives reserves nothing."""
    world = give(give(draw_workers("01"), 0, copper_ore=9), 1, iron_ore=25)
    if offer:
        verb, _, name = offer.partition(" ")
        item = world.config.tables.items.index(name)
        world.offer[0, 1] = 1 + item + (len(world.config.tables.items) if verb == "buy" else 0)
        world.offer_price[0, 1], world.offer_left[0, 1] = 3, 40
    kept = world.offer.clone(), world.offer_price.clone(), world.offer_left.clone()
    slay(world, {0: 1})
    any_backend.loot(world)
    assert held(world, 1)["copper_ore"] == fits and lost(world) == {"copper_ore": 9 - fits}
    assert all(map(torch.equal, kept, (world.offer, world.offer_price, world.offer_left)))


@pytest.mark.parametrize(("offer", "back"), [
    ("sell tin ore", {"tin_ore": 2}), ("sell tin knife", {"tin_ore": 1, "tin_knife": 10}),
    ("buy iron sword", {"tin_ore": 1}), ("buy copper ore", {"tin_ore": 1}),
])  # fmt: skip
@pytest.mark.parametrize("killer", [1, -1])
def test_the_offer_of_a_dead_agent_is_withdrawn_first(any_backend, offer, back, killer):
    """What was in escrow is inherited or lost like all else, and the offer does not count as withdrawn."""
    world = give(draw_workers("01"), 0, tin_ore=1)
    world.gold[0] = torch.tensor([4, 0])
    verb, _, name = offer.partition(" ")
    item = world.config.tables.items.index(name)
    world.offer[0, 0] = 1 + item + (len(world.config.tables.items) if verb == "buy" else 0)
    world.offer_price[0, 0], world.offer_left[0, 0] = 6, 9  # 18 gold
    with_new_ledger(world)
    slay(world, {0: killer})
    any_backend.loot(world)
    everything = {**back, "gold": 4 + 18 * (verb == "buy")}
    assert (goods(world, 1) if killer == 1 else lost(world)) == everything
    assert goods(world, 0) == {"gold": 0}
    assert [int(field[0, 0]) for field in (world.offer, world.offer_price, world.offer_left)] == [0, 0, 0]
    assert happened(world, 0) == {}
    any_backend.burial(world)
    check_ledger(world)


@pytest.mark.parametrize("cause", [Cause.LAVA, Cause.HUNGER, Cause.THIRST])
def test_an_agent_that_dies_otherwise_loses_everything(any_backend, cause):
    """Even if another agent damaged it in the same tick: that is not a kill."""
    world = give(draw_workers("01"), 0, tin_ore=3, tin_knife=7)
    world.gold[0] = torch.tensor([70, 5])
    with_new_ledger(world)
    slay(world, {0: 1}, cause)
    any_backend.loot(world)
    assert lost(world) == {"tin_ore": 3, "tin_knife": 7, "gold": 70}
    assert goods(world, 1) == {"gold": 5} and happened(world, 1) == {}
    assert int(world.ledger[0, :, Flow.LOST].sum()) == 80
    any_backend.burial(world)
    check_ledger(world)


@pytest.mark.parametrize("end", [Cause.COMBAT, Cause.LAVA, Cause.THIRST])
def test_a_killer_that_dies_gets_nothing(any_backend, end):
    """In combat by another agent or by its victim, or in the same tick's upkeep. The kill does not count
    either."""
    world = give(draw_workers("012"), tin_ore=3)
    slay(world, {0: 1})
    slay(world, {1: 0 if end == Cause.COMBAT else -1}, end)
    any_backend.loot(world)
    assert lost(world) == {"tin_ore": 6, "gold": int(world.ledger[0, -1, Flow.LOST])}
    assert goods(world, 0) == goods(world, 1) == {"gold": 0}
    assert not world.events.any()
    assert held(world, 2) == {"tin_ore": 3}


def test_chains_of_killers_end_with_a_living_one(any_backend):
    """0 is killed by 1, and 1 by 2, which lives: 2 gets what 1 had, and what 0 had is lost."""
    world = give(give(give(draw_workers("012"), 0, tin_ore=3), 1, iron_ore=2), 2, copper_ore=1)
    slay(world, {0: 1, 1: 2})
    any_backend.loot(world)
    assert held(world, 2) == {"copper_ore": 1, "iron_ore": 2}
    assert lost(world)["tin_ore"] == 3 and "iron_ore" not in lost(world)
    assert [happened(world, slot) for slot in range(3)] == [{}, {}, {"agents_killed": 1}]


def test_events_of_dead_agents_are_added_to_the_totals_and_kept(any_backend):
    world = draw_workers("0.1.2", realms=2)
    random = torch.Generator().manual_seed(3)
    world.events.copy_(torch.randint(0, 99, world.events.shape, generator=random))
    world.dead_totals.copy_(torch.randint(0, 99, world.dead_totals.shape, generator=random))
    events, dead_totals = world.events.clone(), world.dead_totals.clone()
    slay(world, {0: -1, 2: -1}, Cause.HUNGER)
    world.cause[1, 2] = 0
    any_backend.loot(world)
    assert torch.equal(world.events, events)
    assert torch.equal(world.dead_totals[0], dead_totals[0] + events[0, 0] + events[0, 2])
    assert torch.equal(world.dead_totals[1], dead_totals[1] + events[1, 0])


def zoo(picture: str, numbers: tuple[int, ...], slots: int, **settings) -> World:
    """Returns a world of agents followed by this many chickens, goblins and bears, without gold."""
    world = draw_world(picture, "full", slots=slots, npc_numbers=numbers, age=40, **settings)
    world.gold.zero_()
    return with_new_ledger(world)


def test_an_agent_killed_by_an_npc_loses_everything(any_backend):
    world = give(zoo("01", (0, 0, 1), 1), 0, tin_ore=3)
    slay(with_new_ledger(world), {0: 1})
    any_backend.loot(world)
    assert lost(world) == {"tin_ore": 3} and not world.events.any() and int(world.npc_kills.sum()) == 0


def test_kills_of_npcs_are_counted_by_kind_and_clear_their_aggro(any_backend):
    """For the killer if there is one, and for the realm in any case."""
    world = zoo("01\n23456", (1, 2, 2), 2)
    world.aggro_target.fill_(1)
    world.aggro_entity.fill_(7)
    world.aggro_ticks.fill_(5)
    slay(world, {2: 0, 4: 1, 5: 6, 6: -1})
    any_backend.loot(world)
    assert world.npc_kills.tolist() == [[1, 1, 2]]
    assert world.events[0, :, len(Event) :].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert happened(world, 0) == happened(world, 1) == {}
    assert world.aggro_target.tolist() == [[-1, 1, -1, -1, -1]]
    assert world.aggro_entity.tolist() == [[-1, 7, -1, -1, -1]]
    assert world.aggro_ticks.tolist() == [[0, 5, 0, 0, 0]]
    assert not world.dead_totals.any()


def test_a_bear_drops_two_iron_ores_and_gold(any_backend):
    """To a living killer only."""
    world = zoo("01\n23", (0, 0, 2), 2)
    slay(world, {2: 0, 3: 1})
    slay(world, {1: -1}, Cause.LAVA)
    any_backend.loot(world)
    gold = goods(world, 0)["gold"]
    assert 50 <= gold <= 250 and goods(world, 0) == {"iron_ore": 2, "gold": gold}
    assert goods(world, 1) == {"gold": 0}
    assert booked(world, Flow.DROPPED) == {"iron_ore": 2, "gold": gold}
    any_backend.burial(world)
    check_ledger(world)


@pytest.mark.parametrize(("held_before", "fits"), [(30, 0), (28, 0), (27, 1), (26, 2), (25, 2)])
def test_only_drops_that_fit_are_made(any_backend, held_before, fits):
    """Gold always fits. An offer's reservation counts too."""
    for offered in (False, True):
        world = give(zoo("01", (0, 0, 1), 1), 0, tin_ore=held_before - offered)
        if offered:
            world.offer[0, 0], world.offer_left[0, 0] = 1, 9
            world.ledger[0, 0, Flow.MADE] = 1
        world.ledger[0, 1, Flow.MADE] = held_before - offered
        slay(world, {1: 0})
        any_backend.loot(world)
        assert held(world).get("iron_ore", 0) == fits
        assert int(world.ledger[0, 2, Flow.DROPPED]) == fits
        assert int(world.ledger[0, -1, Flow.DROPPED]) == int(world.gold[0, 0]) >= 50
        any_backend.burial(world)
        check_ledger(world)


def test_drops_take_room_in_order_and_weightless_ones_none(any_backend):
    """A kind with many drops, and a killer with room for three."""
    content = with_more(
        STANDARD,
        items=(Item("feather", weight=0),),
        npcs=(NPCKind("hen", 5, 1, ("grass",), "never", drops=(
            Drop("feather", 300, 300), Drop("copper ore", 2, 2), Drop("gold", 7, 7), Drop("iron ore", 9, 9),
            Drop("copper ore", 5, 5), Drop("feather", 1, 1), Drop("tin ore", chance=0.0),
        )),),
    )  # fmt: skip
    world = give(zoo("01", (0, 0, 0, 1), 1, content=content), 0, raw_shrimp=25)
    with_new_ledger(world)
    slay(world, {1: 0})
    any_backend.loot(world)
    assert goods(world, 0) == {
        "raw_shrimp": 25, "feather": 301, "copper_ore": 2, "iron_ore": 1, "gold": 7,
    }  # fmt: skip
    any_backend.burial(world)
    check_ledger(world)


@pytest.mark.parametrize("above", [0, 1])
def test_a_chance_is_compared_with_sixteen_random_bits(any_backend, above):
    """A drop is made if they are below the chance in 65536ths, and not if they are equal to it."""
    probe = zoo("01", (1, 0, 0), 1)
    word = draw(probe.seed, probe.tick, Stream.DROP, torch.tensor([0]), torch.tensor([64 * 1 + 1]))[0]
    chance = ((int(word) >> 16) + above) / 65536
    hen = NPCKind("hen", 5, 1, ("grass",), "never", drops=(Drop("tin ore"), Drop("iron ore", chance=chance)))
    content = dataclasses.replace(STANDARD, npcs=(hen,))
    world = zoo("01", (1,), 1, content=content)
    slay(world, {1: 0})
    any_backend.loot(world)
    assert held(world) == {"tin_ore": 1, **({"iron_ore": 1} if above else {})}


def test_drops_have_the_right_frequencies(backend):
    """Over 60 realms and 60 ticks: a goblin's gold and sword, a chicken's second piece, a bear's gold."""
    world = zoo("012\n345", (1, 1, 1), 3, realms=60)
    start = world.clone()
    swords = second = 0
    gold = torch.zeros(101, dtype=torch.int64)
    bear = torch.zeros(201, dtype=torch.int64)
    for now in range(60):
        world = start.clone()
        world.tick.fill_(11 * now)
        slay(world, {3: 0, 4: 1, 5: 2})
        backend.loot(world)
        bags = world.inventory
        assert (bags[:, 1, 7] == 1).all() and (bags[:, 2, 2] == 2).all() and (bags[:, 0, 6] >= 1).all()
        swords += int(bags[:, 1, 13].sum())
        second += int((bags[:, 0, 6] - 1).sum())
        gold += torch.bincount(world.gold[:, 1], minlength=101)
        bear += torch.bincount(world.gold[:, 2] - 50, minlength=201)
    total = 3600
    for happened_, chance in ((swords, 0.2), (second, 0.5), (total - int(gold[0]), 0.5)):
        split = torch.tensor([happened_, total - happened_])
        expected = torch.tensor([chance * total, (1 - chance) * total]).double()
        statistic, bound = chi_square(split, expected)
        assert statistic < bound
    for counts in (gold[1:], bear):
        assert int(counts.sum()) > 1500
        statistic, bound = chi_square(counts)
        assert statistic < bound


def test_drops_of_one_npc_are_independent(backend):
    """The goblin's sword is independent of its gold."""
    world = zoo("0123\n4567", (0, 4, 0), 4, realms=50)
    start = world.clone()
    table = torch.zeros(4, dtype=torch.int64)
    for now in range(20):
        world = start.clone()
        world.tick.fill_(now)
        slay(world, {4: 0, 5: 1, 6: 2, 7: 3})
        backend.loot(world)
        sword, gold = (world.inventory[..., 13] > 0).long(), (world.gold > 0).long()
        table.add_(torch.bincount((2 * sword + gold).view(-1), minlength=4))
    expected = torch.tensor([0.4, 0.4, 0.1, 0.1]).double() * 4000
    statistic, bound = chi_square(table, expected)
    assert statistic < bound


def test_agents_that_died_earlier_are_not_changed(any_backend):
    """Without a cause of death nothing happens: an empty slot holds a record, or garbage."""
    world = give(zoo("01", (1, 0, 0), 2), tin_ore=2)
    world.alive[0, 1] = False
    world.top_attacker.fill_(0)
    before = world.clone()
    any_backend.loot(world)
    assert_same(world, before)


@pytest.mark.parametrize("systems", [{}, {"rolls": False, "damage": (10, 4, 3)}, {"exchange": False}])
def test_the_ledger_balances_after_loot(backend, systems):
    """In random worlds in which many die of combat and some of hunger and lava."""
    config = preset(
        "full", **{**ODD, "border": 11}, slots=49, populations=7, npc_numbers=(4, 5, 6), immune_ticks=2
    )  # fmt: skip
    config = dataclasses.replace(config, **systems)
    kills = robbed = npc_kills = 0
    for seed in range(8):
        world = random_world(config, 3, seed, fill=0.9)
        world.cause.zero_()
        world.health.clamp_(max=2)
        for _ in range(2):
            _, style, target = random_orders(world, torch.Generator().manual_seed(seed))
            events, gold, dead = world.events.clone(), world.gold.clone(), world.npc_kills.clone()
            backend.combat(world, style, target)
            struck = (world.cause == Cause.COMBAT)[:, : config.slots] & world.alive[:, : config.slots]
            chance = torch.rand(world.cause.shape, generator=torch.Generator().manual_seed(seed))
            unlucky = world.alive & (world.cause == 0) & (chance < 0.1)
            unlucky[:, config.slots :] = False
            world.cause[unlucky] = int(Cause.HUNGER)
            backend.loot(world)
            kills += int((world.events - events)[..., Event.AGENTS_KILLED].sum())
            robbed += int((world.gold > gold).sum())
            npc_kills += int((world.npc_kills - dead).sum())
            assert not world.inventory[struck].any() and not world.gold[struck].any()
            backend.burial(world)
            check_ledger(world)
            world.cause.zero_()
            world.tick += 1
    assert kills > 30 and robbed > 20 and npc_kills > 15


def test_worlds_without_goods_count_deaths_only(any_backend):
    """Tokens alone make a world of the full game without goods."""
    world = draw_world("01", "chaos", tokens=4)
    world.events[0, 0, Event.SPOKEN] = 3
    slay(world, {0: 1})
    any_backend.loot(world)
    assert world.dead_totals[0, Event.SPOKEN] == 3 and happened(world, 1) == {"agents_killed": 1}
