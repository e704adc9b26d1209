"""The kernels of the exchange: programs in any order, operations on the device, and masks. ``tests/parity``
compares them with the rule in torch."""

from __future__ import annotations

import importlib
from collections import namedtuple

import pytest
import torch
from support.helpers import KERNEL_DEVICE, assert_same, unclean
from support.traders import FEW, bustling
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton")

import triton
import triton.language as tl
from kernels.interpreter import conflicts, programs_in_order

from nmmo_gpu.content import STANDARD
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.launch import diverted, fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_agents
from nmmo_gpu.world import exchange as rule
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.inventory import room
from nmmo_gpu.world.state import World

twin = importlib.import_module("nmmo_gpu.kernels.exchange")
CPU = torch.device("cpu")
TRITON = resolve("triton", KERNEL_DEVICE)
interpreted = pytest.mark.skipif(
    not launching.INTERPRETED, reason="compiled programs run in whatever order the GPU gives them"
)


@pytest.fixture(autouse=True)
def refilled(monkeypatch):
    """Fills workspaces without a fill value with garbage again before each exchange."""
    plain = World.workspace

    def workspace(self, name, shape, dtype, fill=None):
        room = plain(self, name, shape, dtype, fill)
        return room.fill_(0x5A5A5A) if fill is None else room

    monkeypatch.setattr(World, "workspace", workspace)


def both(world, trade, price):
    """Runs the exchange and its quotes by torch and by the kernels, and checks that the results are equal.
    Returns the number of trades."""
    theirs, before = world.to(KERNEL_DEVICE), world.trades.clone()
    rule.exchange(world, trade, price)
    TRITON.exchange(theirs, trade.to(KERNEL_DEVICE), price.to(KERNEL_DEVICE))
    assert_same(theirs.to(CPU), world, "exchange: triton, then torch")
    rule.quotes(world)
    TRITON.quotes(theirs)
    assert_same(theirs.to(CPU), world, "quotes: triton, then torch")
    assert unclean(theirs) == []
    return int((world.trades - before)[..., 0].sum())


@interpreted
@pytest.mark.parametrize(
    "order", [lambda n: list(range(n))[::-1], lambda n: sorted(range(n), key=lambda i: i % 3)]
)
def test_programs_may_run_in_any_order(monkeypatch, order):
    monkeypatch.setattr(launching, "BLOCK", 32)
    world, trade, price = bustling(1, 2, 150)
    with programs_in_order(order) as launches:
        assert both(world, trade, price) > 30
    assert launches == [10, 2, 10, 10, 1]


@interpreted
def test_lanes_do_not_conflict(monkeypatch):
    monkeypatch.setattr(launching, "BLOCK", 32)
    with conflicts() as found:
        world, trade, price = bustling(1, 2, 150)
        assert both(world, trade, price) > 30
    assert found == {name: set() for name in ("_offers", "_edges", "_meet", "_best", "_quotes")}


class Asked(TorchDispatchMode):
    """Records the names of all operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*arguments, **(options or {}))


@pytest.mark.skipif(KERNEL_DEVICE.type != "cpu", reason="needs launches that are not run")
def test_the_exchange_does_not_synchronize():
    """A CUDA graph can capture exchange and quotes: from the second call on they run only the kernels and a
    sort, on the same tensors. The launch sizes do not depend on the offers."""
    world, trade, price = bustling(1)
    plan = []
    with diverted(plan.append):
        TRITON.exchange(world, trade, price)
        TRITON.quotes(world)
        with Asked() as asked:
            TRITON.exchange(world, trade, price)
            TRITON.quotes(world)
    assert set(asked.names) - {"fill_"} == {"sort"} and len(plan) == 10
    for first, second in zip(plan[:5], plan[5:], strict=True):
        assert first.programs == second.programs and first.constants == second.constants
        for a, b in zip(first.arguments, second.arguments, strict=True):
            assert a is b or a == b


_Traders = namedtuple("_Traders", "offer offer_price offer_left gold inventory")


@triton.jit
def _masks(
    world, tables, space, out, slots, chunks, ITEMS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    """Computes the masks of sales, purchases at the lowest price, and withdrawals: one row per agent, one
    lane per item."""
    _, _, agent, _, inside = my_agents(slots, chunks, 0, BLOCK)
    code, _, purse, freed = twin.back(world, tables, agent, inside, ITEMS)
    item = tl.arange(0, WIDE)[None, :]
    row = agent[:, None]
    there = inside[:, None] & (item < ITEMS)
    count = tl.load(world.inventory + row * ITEMS + item, mask=there, other=0)
    lot = tl.load(tables.lot + item, mask=item < ITEMS)
    weight = tl.load(tables.weight + item, mask=item < ITEMS)
    units = tl.load(space + agent, mask=inside, other=0) + freed
    line = out + row * (2 * ITEMS + 1)
    tl.store(line + item, twin.can_sell(count, lot, code[:, None], item), mask=there)
    buyable = twin.can_buy(purse[:, None], tl.load(tables.prices), units[:, None], weight)
    tl.store(line + ITEMS + item, buyable, mask=there)
    left = tl.load(world.offer_left + agent, mask=inside, other=0)
    tl.store(out + agent * (2 * ITEMS + 1) + 2 * ITEMS, twin.can_withdraw(code, left), mask=inside)


@pytest.mark.parametrize("content", [FEW, STANDARD], ids=["few", "standard"])
def test_device_functions_for_masks(content):
    """On blocks of agents by items, the device functions agree with ``possible_trades``."""
    for seed in range(3):
        world, _, _ = bustling(seed, 2, 41, content)
        items = len(content.items)
        mask, _ = rule.possible_trades(world)
        there = world.to(KERNEL_DEVICE)
        out = torch.zeros(2, 41, 2 * items + 1, dtype=torch.bool, device=KERNEL_DEVICE)
        cut = over_slots(2, 41)
        launch(
            _masks, cut.programs, fields_of(_Traders, there), twin.tables(there), room(there), out,
            cut.slots, cut.chunks, ITEMS=items, WIDE=triton.next_power_of_2(items), BLOCK=cut.block,
        )  # fmt: skip
        living = world.alive & (world.health > 0)
        assert torch.equal(out.cpu()[living], mask[..., 1:][living])
