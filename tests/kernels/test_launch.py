"""Launch grids over slots, tiles and elements, and launches that are diverted instead of run."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

import triton
import triton.language as tl

from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.launch import diverted, launch, over_elements, over_slots, over_tiles
from nmmo_gpu.kernels.slots import my_slots


@triton.jit
def _sign(visits, realms, places, slots, chunks, BLOCK: tl.constexpr):
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    tl.atomic_add(visits + agent, tl.full([BLOCK], 1, tl.int32), mask=inside, sem="relaxed")
    tl.store(realms + agent, tl.zeros([BLOCK], tl.int64) + realm, mask=inside)
    tl.store(places + agent, slot, mask=inside)


@pytest.mark.parametrize("block", [1, 8, 32, 128])
@pytest.mark.parametrize(("realms", "slots"), [(1, 1), (1, 7), (3, 32), (2, 33), (1, 128), (2, 150)])
def test_every_slot_of_every_realm_is_handled_once(realms, slots, block):
    """A block of the slot's own realm handles it; nothing after the last slot is accessed."""
    if realms * slots / block > 80:
        block = 8
    cut = over_slots(realms, slots, block)
    assert cut.programs == realms * cut.chunks and cut.slots == slots and cut.block <= block
    visits, realm, place = torch.full((3, realms * slots + 300), -1, dtype=torch.int64, device=KERNEL_DEVICE)
    visits[: realms * slots] = 0
    visits = visits.int()
    launch(_sign, cut.programs, visits, realm, place, cut.slots, cut.chunks, BLOCK=cut.block)
    agents = torch.arange(realms * slots)
    assert (visits[: len(agents)] == 1).all()
    assert torch.equal(realm[: len(agents)].cpu(), agents // slots)
    assert torch.equal(place[: len(agents)].cpu(), agents % slots)
    assert all((plane[len(agents) :] == -1).all() for plane in (visits, realm, place))


@pytest.mark.parametrize("slots", [1, 2, 31, 32, 33, 64, 100, 127, 128, 129, 1000, 4096, 5000, 1 << 20])
def test_blocks_are_powers_of_two_that_cover_a_realm_and_no_more(monkeypatch, slots):
    """As few blocks as possible; small realms use one block of the smallest size in whole warps."""
    for limit in (32, 128, 4096):
        monkeypatch.setattr(launching, "BLOCK", limit)
        cut = over_slots(3, slots)
        assert cut.block & (cut.block - 1) == 0 and launching.WARP <= cut.block <= limit
        assert (cut.chunks - 1) * cut.block < slots <= cut.chunks * cut.block
        assert cut.block == limit or cut.chunks == 1
        assert cut.block == launching.WARP or cut.block < 2 * slots
        assert cut.warps * launching.WARP <= cut.block and 1 <= cut.warps <= 4


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 4096, 4097, 70_000])
def test_elements_and_tiles_are_covered(monkeypatch, n):
    monkeypatch.setattr(launching, "BLOCK", 32)
    monkeypatch.setattr(launching, "TILES", 4096)
    for cut, limit in ((over_elements, 32), (over_tiles, 4096)):
        programs, block = cut(n)
        assert block == limit and (programs - 1) * block < n <= programs * block


@pytest.mark.parametrize("lanes", [1, 64, 512, 4096, 1 << 20, 1 << 22])
def test_agents_share_a_program_up_to_its_lanes(monkeypatch, lanes):
    monkeypatch.setattr(launching, "LANES", 4096)
    agents = launching.agents_per_program(lanes)
    assert agents & (agents - 1) == 0
    assert agents == 1 or agents * lanes == 4096


def test_no_programs_do_nothing():
    out = torch.full((4,), -1, dtype=torch.int64, device=KERNEL_DEVICE)
    launch(_sign, 0, out, out, out, 1, 1, BLOCK=32)
    assert (out == -1).all()


def test_diverted_launches_are_not_run():
    """The innermost context receives the launches, also after an error in it; afterwards launches run
    again."""
    out = torch.zeros(3, 32, dtype=torch.int64, device=KERNEL_DEVICE)
    visits = out[0].int()
    outer, inner = [], []

    def sign(slots):
        launch(_sign, 1, visits, out[1], out[2], slots, 1, warps=2, BLOCK=32)

    with diverted(outer.append):
        sign(3)
        with pytest.raises(KeyError), diverted(inner.append):
            sign(4)
            raise KeyError
        sign(5)
    assert [noted.arguments[3:] for noted in outer] == [(3, 1), (5, 1)]
    assert [noted.arguments[3:] for noted in inner] == [(4, 1)]
    assert outer[0].kernel is _sign and outer[0].constants == {"BLOCK": 32} and outer[0].warps == 2
    assert outer[0].arguments[0] is visits and not visits.any()
    sign(6)
    assert visits.tolist() == [1] * 6 + [0] * 26 and len(outer) == 2
