"""No result depends on the order of programs. Triton's interpreter, which runs them one by one, could hide
this, so these tests run programs in other orders and record all memory accesses."""

from __future__ import annotations

import inspect

import pytest
import torch
from support.helpers import ODD, assert_same, random_orders, random_world, unclean

pytest.importorskip("triton")

import triton
import triton.language as tl
from kernels.interpreter import conflicts, programs_in_order
from triton.runtime.jit import KernelInterface

from nmmo_gpu.config import preset
from nmmo_gpu.kernels import PHASES, STRETCHES
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.launch import launch
from nmmo_gpu.world import tick
from nmmo_gpu.world.actions import action_heads, choices
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.random import Stream

pytestmark = pytest.mark.skipif(
    not launching.INTERPRETED, reason="compiled programs run in whatever order the GPU gives them"
)
CPU = torch.device("cpu")
CRAMPED = {**ODD, "border": 12}
SETTINGS = {
    "ring": preset("chaos", **CRAMPED, slots=70, populations=5, births=3, immune_ticks=3, regrowth=0.3),
    "anywhere": preset(
        "chaos", **CRAMPED, slots=100, populations=2, births=-1, spawn="anywhere", immune_ticks=3,
        damage=(4, 2, 1), regrowth=0.3,
    ),
    "full": preset(
        "full", **CRAMPED, slots=70, populations=5, births=3, npc_numbers=(20, 30, 10), immune_ticks=3,
        regrowth=0.3, ore_regrowth=0.3, offer_ticks=3,
    ),
    "full, flat combat": preset(
        "chaos", **CRAMPED, slots=70, populations=5, births=-1, npcs=True, npc_numbers=(20, 30, 10),
        skills=True, immune_ticks=3, works=("mine",),
    ),
}  # fmt: skip
FUSED = {"_strike", "_wounds", "_first_half", "_second_half"}
"""Kernels that only law and chaos use."""
EXCHANGE = {"_best", "_edges", "_meet", "_offers", "_quotes"}
"""Kernels that only the exchange uses."""
FULL_GAME = EXCHANGE | {
    "_claim_homes", "_count_newborn", "_equip", "_growth", "_work", "_loot", "_npcs", "_settle_npcs",
    "_share",
}  # fmt: skip
"""Kernels that only the full game uses."""
ORDERS = {  # the first exchanges every pair of programs
    "backwards": lambda count: list(range(count))[::-1],
    "shuffled": lambda count: torch.randperm(count, generator=torch.Generator().manual_seed(count)).tolist(),
}


@pytest.fixture
def triton_rules(monkeypatch) -> Backend:
    """Returns the kernels with small block sizes, which need many programs."""
    for name, limit in {"BLOCK": 32, "TILES": 512, "LANES": 4096}.items():
        monkeypatch.setattr(launching, name, limit)
    return resolve("triton", CPU)


@pytest.fixture(params=SETTINGS)
def config(request):
    return SETTINGS[request.param]


def all_there_is(backend, config):
    """Runs a tick and single phases in two crowded realms. Returns the worlds and all other resulting
    tensors."""
    world = random_world(config, 2, 4, fill=0.7, odds="~.ff,,..f")
    random = torch.Generator().manual_seed(1)
    shape = (world.realms, config.slots)
    records = ObservationLayout(config).allocate(*shape, device=CPU)
    seen = torch.zeros(*shape, config.nearest, dtype=torch.int32)
    backend.observe(world, records, seen)
    sizes = torch.tensor(list(action_heads(config).values()))
    actions = (torch.rand(*shape, len(sizes), generator=random) * sizes).long()
    decoded = backend.decode(actions, seen)
    tick.step(world, backend, *choices(config, actions, decoded))
    # The kernels of single phases, which a whole tick does not use.
    apart = world.clone()
    apart.cause.zero_()
    move, style, target = random_orders(apart, random)
    backend.combat(apart, style, target)
    backend.movement(apart, move)
    backend.upkeep(apart)
    backend.explore(apart)
    backend.burial(apart)
    assert unclean(world) == unclean(apart) == []
    realm, slot = torch.arange(2)[:, None], torch.arange(config.slots)
    words = backend.draw(world.seed, world.tick, Stream.RANDOM_ACTION, realm, slot)
    rest = records, seen, *(part.long() for part in decoded), *words
    return world, [*rest, *(tensor for _, tensor in apart.tensors())]


def kernels_of_phases():
    """Returns the names of all kernels that are launched rather than called by others."""
    functions = [*PHASES.values(), *(stretch.run for stretch in STRETCHES)]
    modules = {inspect.getmodule(function) for function in functions}
    return {
        name
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("_") and isinstance(value, KernelInterface)
    }


@pytest.mark.parametrize("order", ORDERS)
def test_programs_may_run_in_any_order(triton_rules, config, order):
    """All launches of more than one program are reordered."""
    ours, ours_seen = all_there_is(resolve("torch", CPU), config)
    with programs_in_order(ORDERS[order]) as launches:
        theirs, theirs_seen = all_there_is(triton_rules, config)
    assert_same(theirs, ours, f"{order}: triton, then torch")
    assert all(torch.equal(a, b) for a, b in zip(theirs_seen, ours_seen, strict=True))
    assert min(launches) > 1 and int(ours.deaths.sum()) > 0


def test_lanes_of_no_kernel_conflict(triton_rules, config):
    """Except for the claims that newborns reset, since a loser finds that a claim is not its own in either
    order (see ``_settle``). No kernel uses what atomic operations return. The settings together run every
    kernel."""
    ours, ours_seen = all_there_is(resolve("torch", CPU), config)
    with conflicts() as found:
        theirs, theirs_seen = all_there_is(triton_rules, config)
    assert {name: where for name, where in found.items() if where}.items() <= {"_settle": {"claims"}}.items()
    unused = FUSED if config.extended else FULL_GAME
    if config.births == -1:
        unused = unused | {"_count_free"}
    if config.extended and not config.exchange:
        unused = unused | EXCHANGE
    assert kernels_of_phases() - found.keys() == unused
    assert_same(theirs, ours, "with garbage out of atomic operations: triton, then torch")
    assert all(torch.equal(a, b) for a, b in zip(theirs_seen, ours_seen, strict=True))


# ------------------------------------------------------------------------------ the instruments themselves


@triton.jit
def _last_one_wins(out, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK), tl.program_id(0) + tl.zeros([BLOCK], tl.int32))


@triton.jit
def _all_write_the_same(out, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK) * 0, tl.full([BLOCK], 7, tl.int32))


@triton.jit
def _two_lanes_write_one_place(out, BLOCK: tl.constexpr):
    tl.store(out + tl.arange(0, BLOCK) // 2, tl.arange(0, BLOCK))


@triton.jit
def _reads_what_the_next_one_writes(out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(out + at + BLOCK) + 1)


@triton.jit
def _reads_what_another_lane_wrote(out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, at)
    tl.store(out + BLOCK + at, tl.load(out + (at + 1) % BLOCK))


@triton.jit
def _adds_up(out, BLOCK: tl.constexpr):
    tl.atomic_add(out + tl.arange(0, BLOCK) // 4, tl.full([BLOCK], 3, tl.int32), sem="relaxed")


@triton.jit
def _adds_up_and_looks(out, BLOCK: tl.constexpr):
    tl.atomic_add(out, tl.program_id(0), sem="relaxed")
    tl.store(out + BLOCK + tl.program_id(0), tl.load(out + tl.arange(0, BLOCK) * 0).sum(0))


@triton.jit
def _numbers_by_what_an_addition_returns(out, BLOCK: tl.constexpr):
    tl.store(out + BLOCK + tl.program_id(0), tl.atomic_add(out, 1, sem="relaxed"))


@triton.jit
def _each_its_own(out, BLOCK: tl.constexpr):
    at = out + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(at, tl.load(at) + 1)
    tl.store(at, tl.load(at) * 2, mask=tl.arange(0, BLOCK) % 2 == 0)


@pytest.mark.parametrize(
    ("kernel", "programs", "is_one"),
    [
        (_last_one_wins, 2, True), (_last_one_wins, 1, False), (_all_write_the_same, 3, False),
        (_two_lanes_write_one_place, 1, True), (_reads_what_the_next_one_writes, 2, True),
        (_reads_what_the_next_one_writes, 1, False), (_reads_what_another_lane_wrote, 1, True),
        (_adds_up, 3, False), (_adds_up_and_looks, 2, True), (_each_its_own, 3, False),
    ],
)  # fmt: skip
def test_conflicts_are_detected_without_false_positives(kernel, programs, is_one):
    out = torch.zeros(64, dtype=torch.int32)
    with conflicts() as found:
        launch(kernel, programs, out, BLOCK=16)
    assert found == {kernel.__name__: {"out"} if is_one else set()}


def test_atomics_return_garbage_while_conflicts_are_recorded():
    out, plain = torch.zeros(2, 32, dtype=torch.int32)
    with conflicts() as found:
        launch(_numbers_by_what_an_addition_returns, 3, out, BLOCK=16)
    launch(_numbers_by_what_an_addition_returns, 3, plain, BLOCK=16)
    assert (
        not any(found.values()) and out[16:19].tolist() == [0x5A] * 3 and plain[16:19].tolist() == [0, 1, 2]
    )


def test_the_order_of_programs_changes_the_result_of_a_race():
    outcomes = []
    for order in ORDERS.values():
        out = torch.zeros(16, dtype=torch.int32)
        with programs_in_order(order) as launches:
            launch(_last_one_wins, 5, out, BLOCK=16)
        assert launches == [5]
        outcomes.append(int(out[0]))
    launch(_last_one_wins, 5, out, BLOCK=16)
    assert outcomes == [0, 2] and int(out[0]) == 4
