"""The tick as a whole: invariants of every world on every backend, and what a world may depend on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import (
    KERNEL_DEVICE,
    ODD,
    assert_same,
    check_invariants,
    draw_world,
    orders,
    random_maps,
    random_orders,
    random_world,
    show,
    unclean,
)
from support.ticking import CPU, generator, phases_called, play

from nmmo_gpu.config import preset
from nmmo_gpu.env import make, random_actions
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import Stretch, resolve
from nmmo_gpu.world.phases import PHASES
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause, World

TORCH = resolve("torch", CPU)


def fresh(name="chaos", realms=3, seed=3, births=1, slots=14, populations=7, **overrides):
    """Returns a world without agents on random terrain with much food, so that agents live for a while."""
    settings = {**ODD, "slots": slots, "populations": populations, "births": births, **overrides}
    config = preset(name, **settings)
    return empty_world(config, random_maps(config, realms, generator(seed), "~.ff,,...#%....fff^"), seed)


# ------------------------------------------------------------------------------------------------- order


def test_the_phases_run_in_the_order_of_the_rules():
    """The clock, the count of actions and the causes of death are updated around them."""
    world = fresh(realms=2)
    called = phases_called(world, orders(world))
    assert called == ["combat", "movement", "spawning", "regrowth", "upkeep", "explore", "burial"]


BASIC = [phase.name for phase in PHASES if phase.when(preset("chaos"))]


def listed(config, backend):
    """Returns the names of the calls of a tick."""
    return [call.name for call in tick.calls(config, backend)]


def test_stretches_are_as_long_as_possible():
    """In ``law`` and ``chaos`` numba runs all phases but the first together, and Triton two stretches. In the
    full game, and on torch, each phase is a call."""
    chaos, full = preset("chaos"), preset("full")
    assert listed(chaos, TORCH) == BASIC
    assert listed(full, TORCH) == [phase.name for phase in PHASES]
    pytest.importorskip("numba")
    assert listed(chaos, resolve("numba", CPU)) == ["start", "+".join(BASIC[1:])]
    assert listed(full, resolve("numba", CPU)) == listed(full, TORCH)
    pytest.importorskip("triton")
    expected = ["start+combat+movement", "spawning", "regrowth", "upkeep+explore+burial"]
    assert listed(chaos, resolve("triton", KERNEL_DEVICE)) == expected


@pytest.mark.parametrize("phase", BASIC)
def test_a_replaced_phase_interrupts_the_stretch(any_backend, phase):
    """It is called once a tick with the world, on every backend. The other phases are the backend's own, and
    run in stretches, so a replacement that only forwards changes no bit."""
    backend, calls = any_backend, []
    original = getattr(backend, phase)

    def replaced(world, *orders):
        calls.append(world)
        original(world, *orders)

    patched = dataclasses.replace(backend, **{phase: replaced})
    whole = random_world(preset("chaos", **ODD, slots=9, populations=3, births=3), 2, 6, fill=0.8, full=True)
    names = listed(whole.config, patched)
    assert phase in names and "+".join(names).split("+") == BASIC
    apart, random = whole.clone(), generator(4)
    for called in range(3):
        chosen = random_orders(whole, random)
        tick.step(whole, backend, *chosen)
        assert len(calls) == called
        tick.step(apart, patched, *chosen)
        assert len(calls) == called + 1
        assert_same(apart, whole, f"tick {called}")
    restored = dataclasses.replace(patched, **{phase: original})
    assert listed(whole.config, restored) == listed(whole.config, backend)


def test_an_environment_calls_a_replaced_phase(any_backend):
    """Through ``env.backend``, in reset and in every step."""
    device = KERNEL_DEVICE.type if any_backend.name == "triton" else "cpu"
    settings = {"height": 40, "width": 40, "slots": 8, "populations": 2, "realms": 1, "device": device}
    env, calls = make("law", **settings, backend=any_backend.name), []
    env.backend = dataclasses.replace(env.backend, regrowth=lambda world: calls.append(int(world.tick)))
    env.reset()
    for _ in range(3):
        env.step(random_actions(env))
    assert calls == [0, 1, 2, 3]


def test_a_custom_stretch_replaces_the_phases_that_it_names(any_backend):
    """It gets the actions that it takes. If one of its phases is another function, the phases run instead."""
    calls = []
    names = ("combat", "movement")
    functions = tuple(getattr(any_backend, name) for name in names)
    stretch = Stretch(names, functions, lambda *given: calls.append(given), ("move", "style"))
    custom = dataclasses.replace(any_backend, stretches=(stretch,))
    world = fresh(realms=1)
    move, style, target = orders(world)
    tick.step(world, custom, move, style, target)
    assert len(calls) == 1 and calls[0][0] is world
    assert calls[0][1] is move and calls[0][2] is style
    other = dataclasses.replace(custom, movement=lambda world, move: None)
    assert "combat+movement" in listed(world.config, custom)
    assert listed(world.config, other) == BASIC


def test_a_tick_in_which_everything_happens(any_backend):
    """In one tick 0 is killed beside forest, 1 walks into lava, 2 eats, and 3 dies of thirst."""
    picture = """
        f0.1^
        4....
        2f.3.
    """
    world = draw_world(picture, under={"2": ".", "4": "."}, slots=6)
    world.food.fill_(20)
    world.water[0] = torch.tensor([20, 20, 20, 1, 20, 20])
    world.health[0, 3] = 1
    step = orders(world, move={0: "west", 1: "east", 2: "east"}, attack={4: ("melee", 0)})
    tick.step(world, any_backend, *step)
    assert show(world, picture) == ["f...^", "4....", ".2..."]
    assert world.cause[0].tolist() == [Cause.COMBAT, Cause.LAVA, 0, Cause.THIRST, 0, 0]
    assert world.alive[0].tolist() == [False, False, True, False, True, False]
    assert world.food[0].tolist()[2:5] == [24, 19, 29]
    assert world.deaths[0].tolist() == [0, 1, 0, 1, 1]
    assert world.acted[0] == 5 and int(world.tick) == 1
    assert world.explored[0].tolist() == [1, 1, 1, 1, 1, 0]


# --------------------------------------------------------------------------------------------- invariants


@settings(max_examples=20)
@given(
    seed=st.integers(-(1 << 63), (1 << 63) - 1),
    name=st.sampled_from(["law", "chaos"]),
    births=st.sampled_from([0, 1, 3, -1]),
    realms=st.sampled_from([1, 3]),
    start=st.sampled_from([0, (1 << 31) - 20, (1 << 32) - 20]),
    crowd=st.sampled_from([(7, 1), (7, 7), (120, 8)]),
)
def test_invariants_hold_and_backends_agree_under_random_and_adversarial_play(
    seed, name, births, realms, start, crowd
):
    """One agent per tile, planes match positions, levels in range, ids unique, workspaces clean, no living
    agent on lava, and the same digest every tick."""
    numba = pytest.importorskip("numba") and resolve("numba", CPU)
    slots, populations = crowd
    world = fresh(
        name, realms, seed % 1000, births=births if births else 1, slots=slots, populations=populations,
        regrowth=0.2, immune_ticks=3,
    )  # fmt: skip
    world.seed[0] = seed
    world.tick.fill_(start)
    if births == 0:  # filled for a while, then without births
        play(world, TORCH, 8)
        world.config = preset(
            name, **ODD, slots=slots, populations=populations, births=0, regrowth=0.2, immune_ticks=3
        )
    twin = world.clone()
    random = generator(seed % (1 << 31))
    base = world.base.clone()
    for _ in range(40):
        step = random_orders(world, random)
        given_orders = [part.clone() for part in step]
        tick.step(world, TORCH, *step)
        tick.step(twin, numba, *step)
        assert world.digest() == twin.digest() or assert_same(world, twin)
        check_invariants(world)
        assert unclean(twin) == []
        assert all(torch.equal(a, b) for a, b in zip(step, given_orders, strict=True)), "orders were changed"
    assert torch.equal(world.base, base)


@pytest.mark.parametrize("name", ["law", "chaos"])
def test_invariants_hold_over_a_long_run_with_all_causes_of_death(backend, name):
    world = fresh(name, births=3, slots=28, immune_ticks=3)
    random = generator(1)
    for _ in range(250):
        before = world.clone()
        tick.step(world, backend, *random_orders(world, random))
        check_invariants(world)
        assert torch.equal(world.acted, before.acted + before.alive.sum(1))
        assert (world.deaths >= before.deaths).all() and (world.next_entity >= before.next_entity).all()
        stayed = before.alive & (world.entity == before.entity)
        far = (world.row - before.row).abs() + (world.col - before.col).abs()
        assert (far[stayed] <= 1).all()
        born = world.entity != before.entity
        assert not (born & before.alive).any(), "a slot was refilled while its agent lived"
    causes = [Cause.LAVA, Cause.HUNGER, Cause.THIRST] + [Cause.COMBAT] * (name == "chaos")
    assert world.deaths.sum(0).nonzero().flatten().tolist() == causes


# -------------------------------------------------------------------------------------------- reproducibility


def test_seed_and_actions_reproduce_the_world_bit_for_bit(backend):
    first, second = fresh(births=-1), fresh(births=-1)
    assert play(first, backend, 60) == play(second, backend, 60)


def test_another_seed_or_other_actions_give_another_world(backend):
    base = play(fresh(births=-1), backend, 12)
    other = fresh(births=-1)
    other.seed[0] += 1
    assert play(other, backend, 12)[-1] != base[-1]
    assert play(fresh(births=-1), backend, 12, seed=1)[-1] != base[-1]


def test_a_copy_of_a_world_continues_alike(backend):
    world = fresh(births=-1)
    play(world, backend, 30)
    assert play(world.clone(), backend, 30, seed=5) == play(world, backend, 30, seed=5)


@pytest.mark.parametrize("name", ["law", "chaos"])
def test_a_realms_history_does_not_depend_on_the_other_realms(backend, name):
    """Realm 1 of 3 equals realm 1 of 5 with the same maps and orders for the first three."""
    config = preset(name, **ODD, slots=14, populations=7, births=3)
    maps = random_maps(config, 5, generator(8), "~.ff,,...#%....fff^")
    few, many = empty_world(config, maps[:3].clone(), 6), empty_world(config, maps, 6)
    random = generator(2)
    for _ in range(60):
        step = random_orders(many, random)
        tick.step(many, backend, *step)
        tick.step(few, backend, *(part[:3].contiguous() for part in step))
        for field, tensor in few.tensors():
            if field not in ("seed", "tick"):
                assert torch.equal(tensor, getattr(many, field)[:3]), field
    assert int(few.next_entity.min()) > 20


def test_equal_realms_differ_only_by_their_number(backend):
    """Three realms share one map: each has its own draws."""
    config = preset("chaos", **ODD, slots=14, populations=7, births=3)
    maps = random_maps(config, 1, generator(8)).expand(3, -1, -1)
    world = empty_world(config, maps, 6)
    play(world, backend, 5)
    histories = {tuple(world.row[realm].tolist() + world.col[realm].tolist()) for realm in range(3)}
    assert len(histories) == 3


# -------------------------------------------------------------------------------------------- permutation


def shuffled(world: World, order: torch.Tensor) -> World:
    """Returns the same world with slot ``order[r, a]`` of realm r moved to slot a."""
    after = world.clone()
    realms, slots = order.shape
    for name, tensor in world.tensors():
        if tensor.shape[:2] == order.shape:
            index = order.view(realms, slots, *[1] * (tensor.dim() - 2)).expand_as(tensor)
            getattr(after, name).copy_(tensor.gather(1, index))
    to = torch.zeros(realms, slots + 1, dtype=torch.int32)
    to[:, 1:] = order.argsort(1) + 1
    after.occupant.copy_(to.gather(1, world.occupant.flatten(1).long()).view_as(world.occupant))
    return after


@pytest.mark.parametrize("name", ["law", "chaos"])
@pytest.mark.parametrize(("slots", "populations"), [(7, 1), (60, 4)])
def test_no_result_depends_on_the_order_of_slots(backend, name, slots, populations):
    """Slots are permuted within their population, and all agents act as before: everything happens as
    before."""
    config = preset(name, **ODD, slots=slots, populations=populations, births=0, immune_ticks=3)
    world = random_world(config, 3, 12, fill=1.0, odds="~.fff,,..#%")
    world.health.fill_(10)
    random = generator(4)
    size = config.population_size
    order = torch.cat(
        [
            torch.stack([torch.randperm(size, generator=random) + start for _ in range(3)])
            for start in range(0, slots, size)
        ],
        1,
    )
    place_of = order.argsort(1)
    other = shuffled(world, order)
    assert_same(shuffled(other, place_of), world, "the test's own permutation")
    start = world.clone()
    for time in range(40):
        move, style, target = random_orders(world, random)
        known = torch.cat((place_of, torch.full((3, 1), -1)), 1)  # target -1 stays -1
        tick.step(world, backend, move, style, target)
        tick.step(
            other, backend, move.gather(1, order), style.gather(1, order),
            known.gather(1, target % (slots + 1)).gather(1, order),
        )  # fmt: skip
        assert_same(shuffled(other, place_of), world, f"tick {time}")
    assert world.alive.any() and (world.tile() != start.tile()).sum() > 0.5 * world.alive.numel()
    assert (world.deaths > start.deaths).any()
