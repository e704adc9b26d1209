"""The tick of the full game as a whole: its order, who takes part in what, and what a world's history may
depend on."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from support import ticking
from support.choices import random_choices
from support.goods import all_work, booked, give, happened, held, set_level
from support.helpers import ODD, draw_world, orders, place, random_maps, random_orders, show
from support.ticking import generator, phases_called
from support.traders import orders as offers

from nmmo_gpu.config import preset
from nmmo_gpu.content import SKILLS, WORKS
from nmmo_gpu.content.tables import experience_table
from nmmo_gpu.world import tick
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.ledger import check_ledger
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause, World

OFF = {"skills": False, "works": (), "rolls": False, "npcs": False, "exchange": False, "tokens": 0}
"""No system of the full game."""


def fresh(realms=3, seed=3, slots=14, populations=7, births=3, **overrides):
    """Returns a world without agents on random terrain without inner lava, with NPC slots of each kind."""
    world_config = {
        **ODD, "slots": slots, "populations": populations, "births": births, "spawn": "anywhere",
        "npc_numbers": (5, 4, 3), "immune_ticks": 2, "offer_ticks": 6, "capacity": 6, **overrides,
    }  # fmt: skip
    config = preset("full", **world_config)
    return empty_world(config, random_maps(config, realms, generator(seed), "~.ff,,...#%"), seed)


play = partial(ticking.play, choose=random_choices)


# ------------------------------------------------------------------------------------------------- order

ALL = (
    "talk", "npcs", "combat", "work", "exchange", "movement", "spawning", "npc_births", "regrowth", "upkeep",
    "explore", "loot", "burial", "growth", "quotes",
)  # fmt: skip


@pytest.mark.parametrize(
    ("off", "missing"),
    [
        ({}, set()), ({"npcs": False}, {"npcs", "npc_births"}), ({"works": ()}, {"work"}),
        ({"exchange": False}, {"exchange", "quotes"}), ({"skills": False}, set()), ({"rolls": False}, set()),
        ({"tokens": 0}, {"talk"}),
        (OFF, {"talk", "npcs", "npc_births", "work", "exchange", "quotes", "loot", "growth"}),
    ],
)  # fmt: skip
def test_the_enabled_phases_run_in_the_order_of_the_rules(off, missing):
    world = fresh(realms=2, **off)
    called = phases_called(world, random_choices(world, generator(1)))
    assert called == [name for name in ALL if name not in missing]


def test_choices_may_be_missing(backend):
    """Without works, trades and tokens a tick of the full game still runs, as the first tick does."""
    world = fresh()
    for _ in range(3):
        move, style, target = (world.agents(part) for part in orders(world))
        nothing = torch.zeros_like(move)
        tick.step(world, backend, move, style, target, None, nothing, nothing)
    check_ledger(world)
    assert not world.events.any() and world.alive.any()


# ----------------------------------------------------------------------------------- one tick, agent by agent


def trade(world, **choices):
    return offers(world, **choices)


def test_an_agent_killed_in_combat_does_nothing_more(any_backend):
    """1 would have fished, sold its sword and walked off; its killer, which walks on, gets all it had."""
    picture = """
        ~~~~
        .0.1
        ....
    """
    world = draw_world(picture, "full", slots=2, npcs=False, rolls=False, skills=False, reach=(2, 2, 2))
    give(world, 1, copper_sword=1, raw_shrimp=2)
    give(world, 0, iron_ore=1)
    world.ledger[0, :, Flow.MADE] = torch.tensor([*world.inventory.sum(1)[0].tolist(), 0])
    step = orders(world, {0: "south", 1: "south"}, {0: ("melee", 1)})
    tick.step(
        world, any_backend, *step, all_work(world, {1: "fish"}), *trade(world, a1=("sell", "copper sword",
        3)),
        torch.tensor([[0, 5]]),
    )  # fmt: skip
    assert show(world, picture) == ["~~~~", "....", ".0.."]
    assert world.cause[0].tolist() == [0, Cause.COMBAT] and not world.alive[0, 1]
    assert held(world, 0) == {"iron_ore": 1, "copper_sword": 1, "raw_shrimp": 2} and world.gold[0, 0] == 20
    assert held(world, 1) == {} and world.gold[0, 1] == 0 and not world.offer.any()
    assert happened(world, 0) == {"attacks": 1, "hits": 1, "damage": 10, "agents_killed": 1}
    assert happened(world, 1) == {"spoken": 1}, "talk comes before combat"
    assert world.dead_totals[0, Event.SPOKEN] == 1 and int(world.dead_totals.sum()) == 1
    assert not world.ledger[0, :, Flow.LOST].any()
    check_ledger(world)


def test_agents_that_kill_each_other_lose_everything(any_backend):
    """Both die; their goods are lost, and neither counts as a killer."""
    world = draw_world("01", "full", npcs=False, rolls=False, skills=False)
    give(world, 0, iron_ore=1)
    world.ledger[0, 2, Flow.MADE] = 1
    tick.step(world, any_backend, *orders(world, attack={0: ("melee", 1), 1: ("melee", 0)}))
    assert world.cause[0].tolist() == [Cause.COMBAT] * 2 and not world.alive.any()
    assert booked(world) == {("made", "iron_ore"): 1, ("lost", "iron_ore"): 1}
    assert world.ledger[0, -1, Flow.LOST] == 20 and not world.events[..., Event.AGENTS_KILLED].any()
    check_ledger(world)


def test_work_and_trade_come_before_movement(any_backend):
    """0 fishes on its tile, and 1 buys what 2 sells in the same tick, before all three move; 2 walks into
    lava with its pay."""
    picture = """
        ~...
        0.1.
        ..2^
    """
    world = draw_world(picture, "full", npcs=False, rolls=False)
    set_level(world, 0, fishing=20)  # cannot fail
    give(world, 2, tin_ore=3)
    world.ledger[0, 1, Flow.MADE] = 3
    step = orders(world, {0: "east", 1: "north", 2: "east"})
    market = trade(world, a1=("buy", "tin ore", 8), a2=("sell", "tin ore", 5))
    tick.step(world, any_backend, *step, all_work(world, {0: "fish"}), *market, torch.zeros(1, 3))
    assert show(world, picture) == ["~.1.", ".0..", "...^"]
    assert held(world, 0) == {"raw_herring": 1}
    assert held(world, 1) == {"tin_ore": 1} and world.gold[0, 1] == 5
    assert world.cause[0, 2] == Cause.LAVA and world.ledger[0, -1, Flow.LOST] == 15
    assert booked(world) == {("made", "raw_herring"): 1, ("made", "tin_ore"): 3, ("lost", "tin_ore"): 2}
    assert world.trades[0, 1].tolist() == [1, 5] and world.quotes[0, 1].tolist() == [0, 0, 1 + 3]
    assert world.dead_totals[0, Event.SOLD] == 1
    check_ledger(world)


def test_the_offer_of_a_dead_agent_is_withdrawn_and_not_quoted(any_backend):
    """0 sells a herring and starves in the same tick: nothing of it is left on the market."""
    world = draw_world("0.1", "full", npcs=False, rolls=False, skills=False)
    give(world, 0, raw_herring=2)
    world.ledger[0, 5, Flow.MADE] = 2
    world.health[0, 0], world.food[0, 0] = 1, 1
    market = trade(world, a0=("sell", "raw herring", 40), a1=("buy", "raw herring", 8))
    tick.step(world, any_backend, *orders(world), None, *market)
    assert world.cause[0, 0] == Cause.HUNGER and not world.offer[0, 0] and world.offer[0, 1]
    assert booked(world) == {("made", "raw_herring"): 2, ("lost", "raw_herring"): 2}
    assert world.quotes[0, 5].tolist() == [1 + 4, 0, 0]
    assert world.dead_totals[0, Event.OFFERED] == 1 and world.dead_totals[0, Event.WITHDRAWN] == 0
    check_ledger(world)


def test_a_level_counts_from_the_next_tick(any_backend):
    """Cooking the first meal raises the level, but goblin is not cooked before the next tick. The iron sword
    is worn once its level is reached, and a higher constitution lets health recover further."""
    world = draw_world("0", "full", npcs=False, rolls=False)
    give(world, 0, raw_shrimp=1, raw_goblin=1, iron_sword=1)
    cooking, constitution, melee = (SKILLS.index(name) for name in ("cooking", "constitution", "melee"))
    needed = experience_table()
    world.xp[0, 0, cooking] = needed[19]
    set_level(world, 0, cooking=1)
    world.xp[0, 0, melee], world.xp[0, 0, constitution] = needed[9] - 1, needed[10]
    tick.step(world, any_backend, *orders(world), all_work(world, "cook"))
    before = dict(held(world))
    assert before.get("raw_goblin") == 1 and "raw_shrimp" not in before
    assert world.level[0, 0, [cooking, constitution, melee]].tolist() == [20, 11, 9]
    assert world.health[0, 0] == 10 and world.worn[0, 0].tolist() == [0, 0, 0]
    world.xp[0, 0, melee] += 1
    tick.step(world, any_backend, *orders(world), all_work(world, "cook"))
    assert held(world).get("cooked_goblin") == 1, "level 20 does not burn goblin"
    assert world.health[0, 0] == 11 and world.worn[0, 0].tolist() == [3, 0, 0]
    assert world.events[0, 0, Event.LEVELS] == 19 + 1 + 8 + 1


def test_newborns_do_not_act_in_the_tick_of_their_birth(any_backend):
    """Choices to work, trade and attack given for the empty slot have no effect."""
    config = preset("full", **ODD, slots=3, populations=1, births=-1, npc_numbers=(0, 0, 0))
    maps = random_maps(config, 2, generator(1), "~.%")
    world = empty_world(config, maps, 5)
    ones = torch.ones(2, 3, dtype=torch.int64)
    trade = ones + len(config.tables.items)  # a bid, which they could pay
    tick.step(world, any_backend, ones, ones * 2, torch.zeros_like(ones), ones, trade, ones * 0, ones * 3)
    assert world.alive.sum() > 3 and not world.events.any() and not world.offer.any()
    assert not world.token.any() and (world.gold[world.alive] == 10).all() and not world.acted.any()
    assert (world.age[world.alive] == 1).all()


def test_npcs_take_part_in_combat_movement_and_death(any_backend):
    """A chicken is killed and blocks its tile until the next tick; a bear attacks an adjacent agent; their
    killer gets their drops."""
    picture = """
        ffffff
        f0ffff
        ffffff
    """
    world = draw_world(
        picture, "full", slots=1, npc_numbers=(1, 0, 1), npc_births=0.0, rolls=False, under={"0": "f"},
        fill="f", wander=0.0,
    )  # fmt: skip
    place(world, 0, 1, 9, 10)  # a chicken
    place(world, 0, 2, 10, 9)  # a bear
    world.alive[0, 1:] = True
    world.health[0] = torch.tensor([60, 5, 40])
    set_level(world, 0, constitution=99)
    world.xp[0, 0, SKILLS.index("constitution")] = experience_table()[98]
    before = world.clone()
    tick.step(
        world, any_backend, *(world.agents(part) for part in orders(world, {0: "east"}, {0: ("melee", 1)}))
    )
    assert world.alive[0].tolist() == [True, False, True] and world.npc_kills[0].tolist() == [1, 0, 0]
    assert world.events[0, 0, len(Event) :].tolist() == [1, 0, 0]
    assert torch.equal(world.row, before.row) and torch.equal(world.col, before.col), (
        "the way was still blocked"
    )
    assert held(world).keys() == {"raw_chicken"} and world.damage[0].tolist() == [10, 10, 0]
    assert world.top_attacker[0].tolist() == [2, 0, -1] and world.health[0, 0] == 60 - 10 + 1
    tick.step(world, any_backend, *(world.agents(part) for part in orders(world, {0: "east"})))
    assert world.col[0, 0] == before.col[0, 0] + 1 and world.occupant[0, 9, 10] == 1
    assert world.deaths.sum() == 0, "NPCs are counted in npc_kills"
    check_ledger(world)


# --------------------------------------------------------------------------------------------- single systems

EACH = {
    "skills": {"skills": True}, "works": {"works": WORKS[1:]}, "rolls": {"rolls": True},
    "npcs": {"npcs": True}, "exchange": {"exchange": True}, "tokens": {"tokens": 5},
}  # fmt: skip


@pytest.mark.parametrize("on", EACH)
def test_each_system_by_itself_changes_only_its_own_state(backend, on):
    """State of the systems that are off stays as it was at birth; some state of the one that is on
    changes."""
    world = fresh(**{**OFF, **EACH[on]}, damage=(10, 2, 1), reach=(4, 4, 4))
    play(world, backend, 60)
    check_ledger(world)
    events = world.dead_totals + world.events.sum(1)
    alive = world.agents(world.alive)
    assert bool((world.events[..., Event.LEVELS] > 0).any() or (world.xp[alive].sum(1) > 1151).any()) == (
        on == "skills"
    )
    assert bool(world.ledger[:, :-1, Flow.MADE].any()) == (on == "works")
    assert bool(events[:, Event.OFFERED].any()) == (on == "exchange")
    assert bool(events[:, Event.SPOKEN].any()) == (on == "tokens")
    assert (world.config.npc_slots > 0) == bool(world.npc_kills.any()) == (on == "npcs")
    assert events[:, Event.HITS].any() and bool(world.ledger[:, :, Flow.DROPPED].any()) == (on == "npcs")
    if on != "skills":
        assert (world.agents(world.level)[alive].sum(1) == 18).all()
        assert (world.agents(world.health)[alive] <= 10).all()
    if on not in ("works", "npcs"):
        assert not world.inventory[alive].any() and not world.worn[alive].any()


@pytest.mark.parametrize("on", ["tokens", "exchange", "works"])
def test_unused_systems_leave_chaos_unchanged(backend, on):
    """All state of chaos is equal, whatever the agents say."""
    settings = {"slots": 44, "populations": 4, "reach": (1, 2, 3), "immune_ticks": 4}
    world, plain = fresh(**{**OFF, **EACH[on]}, **settings), fresh(**OFF, **settings)
    assert not plain.config.extended and world.config.extended
    random = generator(4)
    for time in range(80):
        move, style, target = random_orders(plain, random)
        tick.step(plain, backend, move, style, target)
        nothing = torch.zeros_like(move)
        tick.step(
            world, backend, move, style, target, nothing, nothing, nothing,
            torch.randint(5, move.shape, generator=random) * (on == "tokens"),
        )  # fmt: skip
        for name, tensor in plain.tensors():
            if tensor.numel():
                assert torch.equal(tensor, getattr(world, name)), f"tick {time}: {name}"
    assert plain.deaths[:, Cause.COMBAT].any()


# -------------------------------------------------------------------------------------------- reproducibility


def test_seed_and_choices_reproduce_the_world_bit_for_bit(backend):
    first, second = fresh(), fresh()
    played = play(first, backend, 25)
    assert played == play(second, backend, 25)
    other = fresh()
    other.seed[0] += 1
    assert play(other, backend, 5) != played[:5]
    assert play(fresh(), backend, 5, seed=1)[-1] != played[4]


def test_a_copy_of_a_world_continues_alike(backend):
    world = fresh()
    play(world, backend, 15)
    assert play(world.clone(), backend, 15, seed=5) == play(world, backend, 15, seed=5)


def test_a_realms_history_does_not_depend_on_the_other_realms(backend):
    """Realm 1 of 3 equals realm 1 of 5 with the same maps and choices for the first three, goods and NPCs
    included."""
    many = fresh(realms=5)
    own = {name: tensor if name in ("seed", "tick") else tensor[:3] for name, tensor in many.tensors()}
    few = World(config=many.config, **{name: tensor.clone() for name, tensor in own.items()})
    random = generator(2)
    for _ in range(50):
        choices = random_choices(many, random)[:7]
        tick.step(many, backend, *choices)
        tick.step(few, backend, *(part[:3].contiguous() for part in choices))
        for name, tensor in few.tensors():
            if name not in ("seed", "tick"):
                assert torch.equal(tensor, getattr(many, name)[:3]), name
    assert few.npc_kills.any() and few.trades.any() and few.ledger[:, :-1, Flow.MADE].any()


def test_equal_realms_differ_only_by_their_number(backend):
    """Three realms share one map: each has its own draws of every kind."""
    config = fresh().config
    maps = random_maps(config, 1, generator(8), "~.ff,,...#%").expand(3, -1, -1)
    world = empty_world(config, maps, 6)
    random = generator(3)
    for _ in range(40):
        choices = [part[:1].expand(3, -1) for part in random_choices(world, random)[:7]]
        tick.step(world, backend, *choices)
    for name in ("row", "alive", "ledger", "dead_totals", "material"):
        field = getattr(world, name)
        assert not torch.equal(field[0], field[1]) and not torch.equal(field[1], field[2]), name


def test_the_choices_are_not_changed(backend):
    """Also where those of NPCs are appended to them."""
    world = fresh()
    random = generator(9)
    for _ in range(20):
        choices = random_choices(world, random)[:7]
        copies = [part.clone() for part in choices]
        tick.step(world, backend, *choices)
        assert all(map(torch.equal, choices, copies))
