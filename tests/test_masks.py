"""Masks are exact: a single agent that does what its masks allow, while all others idle, changes the world,
and one that does what they forbid changes nothing.

Each choice is tried in a realm of its own. All realms are copies of one and are compared with that realm when
all agents idle. Random numbers depend on realm, slot and tick only, so nothing else differs. NPCs act: an
agent that they kill, or that loses a tile to one, is excused."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.helpers import ODD, random_world
from support.observed import PLAIN, SMALL, look

from nmmo_gpu.config import EnvConfig, preset, replace
from nmmo_gpu.content import STANDARD, WORKS
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.world.actions import action_heads, choices, decode
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.state import Cause, World, stock_fields
from nmmo_gpu.world.tick import step

CRAMPED = {**ODD, "border": 12}
"""Nine rows of 23 tiles: every agent has another one in reach."""
SYSTEMS = {
    "skills": {"skills": True},
    "works": {"works": WORKS[1:]},
    "rolls": {"rolls": True},
    "npcs": {"npcs": True},
    "exchange": {"exchange": True},
    "tokens": {"tokens": 3},
}
NOTHING = {"move": 0, "style": 0, "target": 0, "work": 0, "trade": 0, "price": 0, "token": 0}


def config_of(systems, **overrides):
    on = {key: value for name in systems for key, value in SYSTEMS[name].items()}
    usual = {
        **CRAMPED, "slots": 9, "populations": 3, "nearest": 5, "npc_numbers": (4, 5, 6), "births": 2,
        "npc_births": 0.3, "offer_ticks": 3,
    }  # fmt: skip
    return preset("chaos", **{**usual, **on, **overrides})


def copies(world, number):
    """Returns a world of ``number`` realms that are copies of the first of this one."""
    tensors = {}
    for field in stock_fields():
        tensor = getattr(world, field.name)
        per_realm = field.shape[0] == "R"
        tensors[field.name] = tensor[:1].repeat_interleave(number, 0) if per_realm else tensor.clone()
    return World(config=world.config, **tensors)


def differs(first, second):
    """Returns [R] bool: realms that differ in any field."""
    different = torch.zeros(first.realms, dtype=torch.bool)
    for (_, a), (_, b), field in zip(first.tensors(), second.tensors(), stock_fields(), strict=True):
        if field.shape[0] == "R":
            different |= (a != b).view(first.realms, -1).any(1)
        else:
            assert torch.equal(a, b)
    return different


def every_choice(config, views, slot):
    """Returns (head, choice, whether masks allow it) for all that an agent could choose for a head. Heads
    that depend on each other are chosen together."""
    sizes = action_heads(config)
    mask = {name: view[0, slot].tolist() for name, view in views.items() if name.endswith("_mask")}
    for move in range(5):
        yield "move", {"move": move}, mask["move_mask"][move]
    for style in range(3):
        for target in range(sizes["target"]):
            possible = mask["target_mask"][style][target]
            assert mask["style_mask"][style] or not possible or target == 0
            yield "target", {"style": style, "target": target}, possible
    for name in ("work", "token"):
        for choice in range(sizes.get(name, 0)):
            yield name, {name: choice}, mask[name + "_mask"][choice]
    assert all(map(any, mask.get("price_mask", []))), "each trade has a possible price"
    for trade in range(sizes.get("trade", 0)):
        items = len(config.content.items)
        side = 0 if trade in (0, 2 * items + 1) else 1 if trade <= items else 2
        for price in range(sizes["price"]) if side == 2 or trade < 3 else (0, sizes["price"] - 1):
            # For a trade without a price, the first price is used.
            possible = mask["trade_mask"][trade] and (side == 0 or mask["price_mask"][side][price])
            yield "trade", {"trade": trade, "price": price}, possible


def does_nothing(choice):
    return not any(choice.get(name, 0) for name in ("move", "target", "work", "trade", "token"))


def actions_of(config, number, slot, chosen):
    actions = torch.zeros(number, config.slots, len(action_heads(config)), dtype=torch.int64)
    for realm, choice in enumerate(chosen):
        for head, name in enumerate(action_heads(config)):
            actions[realm, slot, head] = choice.get(name, NOTHING[name])
    return actions


def check(config, seed):
    """Tries every choice of every agent of a random realm; returns how often each head's choices were allowed
    and forbidden."""
    world_config, verdicts = Backend(), Counter()
    world = random_world(config, 1, seed, fill=0.9, odds=PLAIN)
    views, seen, _ = look(world_config, world)

    def after(number, slot, chosen):
        then = copies(world, number)
        actions = actions_of(config, number, slot, chosen)
        first = decode(actions, seen.expand(number, -1, -1))
        step(then, world_config, *choices(config, actions, first))
        return then

    idle = None
    for slot in world.agents(world.alive)[0].nonzero().squeeze(1).tolist():
        tried = list(every_choice(config, views, slot))
        if idle is None:
            idle = after(len(tried), slot, [])
        acted = after(len(tried), slot, [choice for _, choice, _ in tried])
        changed = differs(acted, idle).tolist()
        killed = (idle.cause[:, slot] == Cause.COMBAT).tolist()
        for realm, (head, choice, possible) in enumerate(tried):
            message = f"slot {slot}, {choice}, realm {realm}"
            verdicts[head, possible] += not does_nothing(choice)
            if not possible or does_nothing(choice):
                assert not changed[realm], f"{message}: forbidden or nothing, and something happened"
            elif not changed[realm]:
                excused = killed[realm] and head in ("move", "work", "trade")
                excused |= head == "move" and lost_to_npc(world, acted, realm, slot, choice["move"])
                assert excused, f"{message}: allowed, and nothing happened"
                verdicts[head, "excused"] += 1
    return verdicts


def lost_to_npc(before, after, realm, slot, move):
    """Whether an NPC is now where the agent wanted to go."""
    row = int(before.row[0, slot]) + MOVES[move][0]
    col = int(before.col[0, slot]) + MOVES[move][1]
    # The agent may have moved there and died there of something else.
    npcs = range(after.config.slots, after.config.entities)
    there = {(int(after.row[realm, npc]), int(after.col[realm, npc])) for npc in npcs}
    return (row, col) in there


def test_masks_of_the_full_game_are_exact():
    """In these worlds every head has allowed and forbidden choices for some agent."""
    verdicts = sum((check(config_of(SYSTEMS), seed) for seed in range(4)), Counter())
    for head in ("move", "target", "work", "trade"):
        assert verdicts[head, True] > 20 and verdicts[head, False] > 20, (head, verdicts)
        assert verdicts[head, "excused"] < verdicts[head, True] / 4, (head, verdicts)
    assert verdicts["token", True] > 20 and not verdicts["token", False], verdicts


@settings(max_examples=12)
@given(
    systems=st.sets(st.sampled_from(sorted(SYSTEMS)), min_size=1),
    content=st.sampled_from((STANDARD, SMALL)),
    capacity=st.sampled_from((1, 5, 28)),
    damage=st.sampled_from(((10, 2, 1), (0, 3, 0))),
    seed=st.integers(0, 1000),
)
@example(systems={"rolls"}, content=STANDARD, capacity=28, damage=(10, 2, 1), seed=0)
@example(systems={"npcs"}, content=SMALL, capacity=28, damage=(0, 3, 0), seed=1)
def test_masks_of_any_systems_are_exact(systems, content, capacity, damage, seed):
    numbers = (4, 5, 6)[: len(content.npcs)]
    config = config_of(systems, content=content, capacity=capacity, damage=damage, npc_numbers=numbers)
    check(config, seed)


def test_each_work_by_itself_is_exact():
    """Works that the config lacks are forbidden and do nothing."""
    found = 0
    for seed, name in enumerate(WORKS[1:]):
        verdicts = check(config_of({"skills"}, works=(name,)), seed)
        found += verdicts["work", True] > 0
        assert verdicts["work", False], name
    assert found > 4, "too few works are possible here"


@pytest.fixture(scope="module")
def lively():
    """Returns an environment with many agents after some ticks."""
    config = config_of(SYSTEMS, slots=60, populations=3)
    settings = EnvConfig(world=config, realms=6, device="cpu", backend="torch")
    return Env(settings, random_world(config, 6, 3, odds=PLAIN))


def test_random_actions_are_possible_and_cover_every_choice(lively):
    """All that the masks allow occurs eventually, and nothing else; moves and styles are unrestricted, as in
    v1. An empty slot has no other action."""
    env, items = lively, len(lively.config.world.content.items)
    views, alive = env.layout.views(env.records), env.world.agents(env.world.alive)
    masks = {name: views[name + "_mask"] for name in ("target", "work", "trade", "price", "token")}
    drawn = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    moves = []
    for tick in range(120):
        env.world.tick.fill_(tick)
        chosen = dict(zip(env.action_heads, random_actions(env).unbind(-1), strict=True))
        moves.append(torch.stack((chosen["move"], chosen["style"])))
        trade = chosen["trade"]
        row = {"target": chosen["style"], "price": (trade > 0).long() + (trade > items)}
        row["price"][trade > 2 * items] = 0
        for name, all_drawn in drawn.items():
            assert not chosen[name][~alive].any()
            lines = all_drawn.view(*alive.shape, -1, env.action_heads[name])
            at = row.get(name, torch.zeros_like(trade))
            realm, slot = torch.meshgrid(*map(torch.arange, alive.shape), indexing="ij")
            lines[realm, slot, at, chosen[name]] = True
    move, style = torch.stack(moves).unbind(1)
    assert set(move.flatten().tolist()) == set(range(5)) and set(style.flatten().tolist()) == {0, 1, 2}
    for name, mask in masks.items():
        assert not (drawn[name] & ~mask)[alive].any(), name
    # A price is drawn only with its trade, and there are many trades.
    for name, share in (("target", 0.01), ("work", 0.001), ("token", 0.001), ("trade", 0.2), ("price", 0.9)):
        missed = masks[name] & ~drawn[name]
        assert missed[alive].sum() < share * masks[name][alive].sum(), name


def test_random_actions_without_the_full_game_have_three_heads():
    config = replace(preset("chaos"), **{**ODD, "slots": 7, "populations": 7})
    env = Env(EnvConfig(world=config, realms=2, device="cpu", backend="torch"), random_world(config, 2, 3))
    assert random_actions(env).shape == (2, 7, 3)
    assert dataclasses.replace(config, rolls=True).extended
