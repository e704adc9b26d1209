"""Whole ticks under adversarial play with any of the full game's systems: goods are conserved in every tick,
and all invariants of a world hold.

Choices ignore the masks: all agents do the same, attack one victim or empty slots, trade one item, or work
where nothing can be done."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.helpers import DIRECTIONS, ODD, assert_same, check_invariants, random_maps, random_world
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig, preset
from nmmo_gpu.content import GOLD, STANDARD, WORKS, Content, Drop, Item, NPCKind, Recipe
from nmmo_gpu.env import Env
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import Choices, action_heads, choices
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.events import Event, Flow, event_names
from nmmo_gpu.world.ledger import check_ledger
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.spawning import birth_levels
from nmmo_gpu.world.state import Cause, World, causes

CPU = torch.device("cpu")
SYSTEMS = ("skills", "works", "rolls", "npcs", "exchange", "tokens")
LAND = "~.ff,,...#%....fff%"
"""Much to eat and to mine, and no lava but at the border."""
ODD_CONTENT = Content(
    items=(
        Item("dust", weight=0, lot=127), Item("dart", "knife", 1, 500, 500, weight=0), Item("rock"),
        Item("stew", heals=99, feeds=127), Item("stick", "sword", 2, 3, 3), Item("hat", "armor", defense=1),
    ),
    recipes=(
        Recipe("fish", "cooking", 1, 10**6, "stew", 5),
        Recipe("fish", "fishing", 1, 1, "dust", 127),
        Recipe("mine", "mining", 1, 0, "rock", 3),
        Recipe("cook", "cooking", 1, 0, "dust", 3, "stew", 2),
        Recipe("cook", "cooking", 1, 7, "stew", 9, "rock", 2),
        Recipe("sword", "smithing", 1, 1, "stick", 1, "rock", 1),
        Recipe("armor", "smithing", 1, 10**6, "hat", 3, "dust", 127),
        Recipe("knives", "mage", 1, 1, "dart", 127, "stick", 1),
    ),
    npcs=(
        NPCKind("ghost", 127, 99, ("grass", "scrub", "forest"), "always", sight=7, experience=10**6,
                drops=(Drop("rock", 1, 50), Drop(GOLD, 1, 10**6, 0.5), Drop("dust", 10**6, 10**6))),
        NPCKind("moth", 1, 1, ("scrub",), "always", drops=(Drop("stew", chance=0.0),)),
        NPCKind("snail", 2, 1, ("forest", "grass"), "provoked", sight=1, aggro_ticks=127),
    ),
    prices=(1, 10**6),
)  # fmt: skip
"""All numbers at their limits: large drops, batches that exceed any inventory, lots of 127."""
NO_GOODS = Content(npcs=(NPCKind("rat", 3, 1, ("grass",), "provoked", sight=3, aggro_ticks=2),), prices=(7,))


class Modes(NamedTuple):
    """How agents choose, by head."""

    move: str = "any"
    fight: str = "nearest"
    work: str = "any"
    trade: str = "any"


MODES = Modes(
    ("inland", "inland", "any", "same", "stay"),
    ("nearest", "anybody", "one victim", "npcs", "nobody"),
    ("any", "same"),
    ("any", "same", "one thing", "bargains", "withdraw"),
)
CONTENTS = {"standard": STANDARD, "odd": ODD_CONTENT, "no goods": NO_GOODS}


@st.composite
def rule_sets(draw: st.DrawFn) -> dict[str, object]:
    """Draws settings: some of the systems, all or none, and small numbers of everything."""

    def one_of(*choices: object) -> object:
        return draw(st.sampled_from(choices))

    on = draw(st.one_of(st.just(frozenset(SYSTEMS)), st.frozensets(st.sampled_from(SYSTEMS))))
    works = st.one_of(st.just(WORKS[1:]), st.lists(st.sampled_from(WORKS[1:]), min_size=1, unique=True))
    slots, populations = one_of((7, 1), (14, 7), (44, 4))
    return {
        # With a border of 14 there are 95 tiles, including the ring.
        "border": one_of(7, 14), "slots": slots, "populations": populations,
        "births": one_of(-1, 0, 1, 3), "spawn": one_of("ring", "anywhere"), "immune_ticks": one_of(0, 1, 4),
        "content": one_of("standard", "standard", "odd", "no goods"),
        **{name: name in on for name in ("skills", "rolls", "npcs", "exchange")},
        "works": tuple(draw(works)) if "works" in on else (),
        "tokens": draw(st.integers(2, 9)) if "tokens" in on else 0,
        "npc_numbers": tuple(draw(st.integers(0, 9)) for _ in range(3)),
        "capacity": draw(st.integers(1, 28)), "birth_gold": one_of(0, 1, 10, 1 << 20),
        "offer_ticks": draw(st.integers(1, 4)),
        "reach": one_of((1, 4, 4), (7, 7, 7), (0, 1, 2)),
        "damage": one_of((10, 2, 1), (0, 0, 0), (1, 0, 127)),
        "regrowth": one_of(0.0, 0.2, 1.0), "ore_regrowth": one_of(0.0, 0.2, 1.0),
        "npc_births": one_of(0.0, 0.3, 1.0), "wander": one_of(0.0, 0.25, 1.0),
        "max_health": one_of(1, 10, 127),
    }  # fmt: skip


def config_of(overrides: dict[str, object]) -> WorldConfig:
    """Returns the config of settings that name their content."""
    content = CONTENTS[str(overrides["content"])]
    numbers = tuple(overrides["npc_numbers"])[: len(content.npcs)]
    return preset("full", **{**ODD, **overrides, "content": content, "npc_numbers": numbers})


def hostile(world: World, modes: Modes, random: torch.Generator) -> Choices:
    """Returns the choices of all slots, as ``tick.step`` takes them, including empty ones."""
    cfg, shape = world.config, (world.realms, world.config.slots)
    items, sizes = len(cfg.tables.items), action_heads(cfg)

    def integers(low: int, high: int, shape: tuple[int, ...] = shape) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=random)

    def same(low: int, high: int) -> Tensor:
        return integers(low, high, (1, 1)).expand(shape).clone()

    moves = {"any": integers(0, 4), "same": same(0, 4), "stay": same(0, 0)}
    move = moves[modes.move] if modes.move in moves else _inland(world, moves["any"])
    style = integers(0, 2)
    if modes.fight in ("nearest", "npcs"):
        target = _nearest(world, cfg.slots if modes.fight == "npcs" else 0)
    elif modes.fight == "one victim":
        style, target = same(0, 2), same(0, 0) + int(world.tick) // 10 * 7 % cfg.entities
    else:
        target = integers(-1, cfg.entities - 1) if modes.fight == "anybody" else same(-1, -1)

    # In one tensor of the narrowest dtype, as actions may be given; steps get views of it.
    actions = torch.zeros(*shape, len(sizes), dtype=torch.uint8)
    at = {name: actions[..., place] for place, name in enumerate(sizes)}
    if cfg.works:
        at["work"].copy_(integers(0, len(WORKS) - 1) if modes.work == "any" else same(0, len(WORKS) - 1))
    if cfg.exchange:
        thing = same(0, max(0, items - 1)) + items * integers(0, 1)
        trades = {
            "any": integers(0, 2 * items + 1), "same": same(0, 2 * items + 1), "one thing": 1 + thing,
            "bargains": 1 + thing, "withdraw": same(2 * items + 1, 2 * items + 1),
        }  # fmt: skip
        at["trade"].copy_(trades[modes.trade])
        price = integers(0, sizes["price"] - 1)
        if modes.trade == "bargains":  # cheap for buyers
            price = torch.where(at["trade"] > items, price, 0)
        at["price"].copy_(price)
    if cfg.tokens:
        at["token"].copy_(integers(0, cfg.tokens - 1))
    return choices(cfg, actions, (move, style, target))


def _inland(world: World, move: Tensor) -> Tensor:
    """Replaces moves from the ring into the lava."""
    cfg = world.config
    row, col = world.agents(world.row), world.agents(world.col)
    edges = (
        (row, cfg.border, "south"), (row, cfg.height - 1 - cfg.border, "north"),
        (col, cfg.border, "east"), (col, cfg.width - 1 - cfg.border, "west"),
    )  # fmt: skip
    for place, edge, back in edges:
        move = move.masked_fill(place == edge, DIRECTIONS[back])
    return move


def _nearest(world: World, first: int) -> Tensor:
    """Returns [R, A] int64: for each agent the nearest other living entity from slot ``first`` on, or -1 if
    there are no such slots."""
    cfg = world.config
    if first >= cfg.entities:
        return torch.full((world.realms, cfg.slots), -1)
    far_r, far_c = (
        (field[:, : cfg.slots, None] - field[:, None, first:]).abs() for field in (world.row, world.col)
    )
    distance = torch.maximum(far_r, far_c).masked_fill(~world.alive[:, None, first:], 1000)
    own = torch.arange(cfg.slots)[:, None] == torch.arange(first, cfg.entities)
    return distance.masked_fill(own, 2000).argmin(-1) + first


def counters(world: World) -> dict[str, Tensor]:
    """Returns all counters by realm; none ever decreases."""
    kept = ("deaths", "npc_kills", "trades", "ledger", "next_entity", "acted")
    alive = world.agents(world.alive)
    events = (
        world.dead_totals + (world.events * alive[:, :, None]).sum(1)
        if world.config.extended
        else world.dead_totals
    )
    return {"events": events, **{name: getattr(world, name).clone() for name in kept}}


def play(
    world: World, backend: Backend, modes: Modes, ticks: int, random: torch.Generator, every: int,
    from_birth: bool, twin: World | None = None,
) -> Counter[str]:  # fmt: skip
    """Plays this many ticks, checking the ledger in each, and everything else at intervals and at the end.

    Args:
        twin: a copy of the world that the fastest available backend steps too; it must stay equal.

    Returns how often each thing happened: events by name, deaths by cause, goods by flow, trades, and NPCs
    killed by kind."""
    first = before = counters(world)
    base = world.base.clone()
    for time in range(1, ticks + 1):
        choices = hostile(world, modes, random)
        copies = [part.clone() for part in choices if part is not None]
        tick.step(world, backend, *choices)
        if twin is not None:
            tick.step(twin, resolve("auto", CPU), *choices)
            assert_same(world, twin, f"tick {time}")
        assert all(map(torch.equal, filter(torch.is_tensor, choices), copies)), "choices were changed"
        after = counters(world)
        for name, now in after.items():
            assert (now >= before[name]).all(), f"{name} decreased"
        before = after
        if world.config.extended:
            check_ledger(world)
        if time % every == 0 or time == ticks:
            check_invariants(world)
    assert torch.equal(world.base, base)
    gained = {name: now - first[name] for name, now in before.items()}
    if world.config.extended:
        check_accounts(world, gained, from_birth)
    return happened(world.config, gained)


def check_accounts(world: World, gained: dict[str, Tensor], from_birth: bool) -> None:
    """Events, ledger and trades agree in every realm. ``gained`` is the increase of the counters."""
    cfg, tables = world.config, world.config.tables
    events, ledger = gained["events"], gained["ledger"]
    made = ledger[:, :-1, Flow.MADE]
    if tables.items:
        assert torch.equal(events[:, Event.SOLD], gained["trades"][..., 0].sum(1))
    assert torch.equal(events[:, Event.SOLD], events[:, Event.BOUGHT])
    assert torch.equal(events[:, Event.EATEN], ledger[..., Flow.EATEN].sum(1))
    assert (events[:, Event.HITS] <= events[:, Event.ATTACKS]).all()
    assert (events[:, Event.HITS] <= events[:, Event.DAMAGE]).all()
    assert (events[:, Event.AGENTS_KILLED] <= gained["deaths"][:, Cause.COMBAT]).all()
    assert (events[:, len(Event) :] <= gained["npc_kills"]).all()
    assert (ledger[:, -1, [Flow.MADE, Flow.EATEN, Flow.USED, Flow.BURNT]] == 0).all(), "gold was created"
    if cfg.content is STANDARD:
        worked = {"fish": Event.FISHED, "mine": Event.MINED, "cook": Event.COOKED}
        for work, event in worked.items():
            products = [row.makes for row in tables.recipes[WORKS.index(work)]]
            assert torch.equal(events[:, event], made[:, products].sum(1)), work
        pieces = made[:, 13:22] // torch.tensor([1, 1, 1, 10, 10, 10, 1, 1, 1])
        assert torch.equal(events[:, Event.SMITHED], pieces.sum(1))
        assert torch.equal(events[:, Event.BURNT], ledger[..., Flow.BURNT].sum(1))
    alive = world.agents(world.alive)
    if from_birth:
        births = world.deaths.sum(1) + alive.sum(1)
        assert torch.equal(world.ledger[:, -1, Flow.INITIAL], births * cfg.birth_gold)
    if from_birth and cfg.skills:
        rises = (world.agents(world.level).long() - torch.tensor(birth_levels())).sum(2)
        assert torch.equal(world.events[..., Event.LEVELS][alive].long(), rises[alive])


def happened(config: WorldConfig, gained: dict[str, Tensor]) -> Counter[str]:
    """Returns the increase of the counters by name, over all realms."""
    counted = Counter(
        {f"died of {c.name}": int(n) for c, n in zip(causes(config), gained["deaths"].sum(0), strict=True)}
    )
    if config.extended:
        for name, n in zip(event_names(config), gained["events"].sum(0).tolist(), strict=True):
            counted[name] += n
        for flow, n in zip(Flow, gained["ledger"][:, :-1].sum((0, 1)).tolist(), strict=True):
            counted[f"goods {flow.name}"] += n
        for flow, n in zip(Flow, gained["ledger"][:, -1].sum(0).tolist(), strict=True):
            counted[f"gold {flow.name}"] += n
        for kind, n in zip(config.content.npcs, gained["npc_kills"].sum(0).tolist(), strict=True):
            counted[f"{kind.name} npc_kills"] += n
        counted["trades"] = int(gained["trades"][..., 0].sum())
    return counted


NEVER = {"gold MADE", "gold EATEN", "gold USED", "gold BURNT", "goods INITIAL", "died of NONE"}
"""What cannot happen: gold is not made, and newborns have no goods."""


def due(*contents: Content) -> set[str]:
    """Returns everything that can happen, by the names of ``happened``."""
    world_config = [preset("full", content=content) for content in contents]
    names = {f"died of {cause.name}" for cause in list(Cause)[:-1]}
    names |= {f"{of} {flow.name}" for of in ("goods", "gold") for flow in Flow}
    for config in world_config:
        names |= {*event_names(config), *(f"{kind.name} npc_kills" for kind in config.content.npcs)}
    return (names | {"trades"}) - NEVER


def started(config: WorldConfig, start: str, seed: int, realms: int = 2) -> World:
    """Returns a world in the middle of its history, or one without any births yet."""
    if start == "random":
        return random_world(config, realms, seed)
    maps = random_maps(config, realms, torch.Generator().manual_seed(seed), LAND)
    return empty_world(config, maps, seed)


USUAL = {
    "border": 7, "slots": 44, "populations": 4, "births": 3, "spawn": "anywhere", "immune_ticks": 1,
    "content": "standard", "skills": True, "rolls": True, "npcs": True, "exchange": True, "works": WORKS[1:],
    "tokens": 8, "npc_numbers": (9, 9, 9), "capacity": 9, "birth_gold": 10, "offer_ticks": 4,
    "reach": (1, 4, 4), "damage": (1, 0, 127), "regrowth": 0.2, "ore_regrowth": 0.2, "npc_births": 0.3,
    "wander": 0.25, "max_health": 10,
}  # fmt: skip
HUNTERS = [Modes("inland", "npcs", "any", "any"), Modes("stay", "npcs", "any", "bargains")]


def test_goods_are_conserved_under_any_rules_and_choices():
    """And everything that can happen does happen in some of these worlds."""
    seen: Counter[str] = Counter()

    @settings(max_examples=30)
    @given(
        overrides=rule_sets(),
        start=st.sampled_from(["random", "random", "empty"]),
        seed=st.integers(0, 10**6),
        modes=st.lists(st.builds(Modes, *map(st.sampled_from, MODES)), min_size=2, max_size=2),
    )
    # The drawn examples may miss these: goods change hands, and an NPC of every kind dies of a mage's damage
    # of 127.
    @example(overrides=USUAL, start="random", seed=1, modes=[Modes("stay", trade="bargains")] * 3)
    @example(overrides={**USUAL, "rolls": False}, start="random", seed=2, modes=HUNTERS)
    @example(overrides={**USUAL, "rolls": False, "content": "odd"}, start="random", seed=3, modes=HUNTERS)
    @example(overrides={**USUAL, "content": "no goods"}, start="random", seed=4, modes=HUNTERS)
    @example(
        overrides={**USUAL, "rolls": False, "births": -1, "npc_births": 1.0},
        start="empty",
        seed=5,
        modes=HUNTERS,
    )
    def run(overrides, start, seed, modes):
        world, random = started(config_of(overrides), start, seed), torch.Generator().manual_seed(seed)
        twin = world.clone()
        for mode in modes:
            seen.update(play(world, Backend(), mode, 7, random, 1, start == "empty", twin))

    run()
    assert {name for name in due(*CONTENTS.values()) if not seen[name]} == set()
    assert {name for name in NEVER if seen[name]} == set()


@pytest.mark.parametrize(("backend", "start", "ticks"), [("torch", "random", 200), ("auto", "empty", 2400)])
def test_goods_are_conserved_in_a_long_run_in_which_everything_happens(backend, start, ticks):
    """Every 20 ticks the agents choose in another way."""
    config = {**USUAL, "slots": 28, "births": 2, "npc_numbers": (7, 7, 9), "reach": (1, 7, 7), "capacity": 5}
    world, random = started(config_of(config), start, 7), torch.Generator().manual_seed(6)
    habits = [
        Modes("inland", "npcs", "any", "any"), Modes("inland", "nearest", "any", "bargains"),
        Modes("stay", "one victim", "same", "one thing"), Modes("inland", "npcs", "same", "withdraw"),
        Modes("same", "anybody", "any", "same"), Modes("any", "nobody", "any", "bargains"),
    ]  # fmt: skip
    seen: Counter[str] = Counter()
    for period in range(ticks // 20):
        modes = habits[period % len(habits)]
        seen.update(play(world, resolve(backend, CPU), modes, 20, random, 5, start == "empty"))
    assert {name for name in due(STANDARD) if not seen[name]} == set()
    assert {name for name in NEVER if seen[name]} == set()


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_goods_are_conserved_in_an_environment_with_any_actions(backend):
    """Every head takes every value: empty rows of the entity table, works and trades that are masked."""
    config = config_of({**USUAL, "slots": 14, "populations": 7})
    env = Env(EnvConfig(world=config, realms=3, device="cpu", backend=backend, check=True))
    env.reset()
    random = torch.Generator().manual_seed(1)
    limits = torch.tensor(env.action_sizes)
    for _ in range(30):
        actions = (torch.rand(3, 14, len(limits), generator=random) * limits).long()
        env.step(actions)
        check_invariants(env.world)
    totals = happened(config, counters(env.world))
    for name in ("attacks", "hits", "mining", "fished", "offered", "spoken", "gold INITIAL", "gold LOST"):
        assert totals[name] > 0, name
