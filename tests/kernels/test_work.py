"""The device functions for masks of work. ``tests/parity`` compares work with the rule in torch."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from support.goods import WORK_SETTINGS, work_world
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

import triton
import triton.language as tl

from nmmo_gpu.content import WORKS
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.inventory import room as kernel_room
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_agents, tile_of
from nmmo_gpu.kernels.work import book, book_config, possible_works
from nmmo_gpu.world.inventory import room
from nmmo_gpu.world.work import possible_works as rule_of_masks


@pytest.fixture(params=WORK_SETTINGS)
def world(request, monkeypatch):
    """Returns a fresh copy of the setting's world, and sets the block size of the setting."""
    block = WORK_SETTINGS[request.param][1]
    if block is not None:
        monkeypatch.setattr(launching, "BLOCK", block)
    return work_world(request.param, len(request.param)).clone()


_Workers = namedtuple("_Workers", "alive row col level inventory offer shore material")
_Config = namedtuple("_Config", "npc_slots work_bits items recipes meals height width")


@triton.jit
def _masks(world, tables, spaces, masks, slots, chunks, capacity, config: tl.constexpr, BLOCK: tl.constexpr):
    realm, _, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    living = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    tile = realm * (config.height * config.width) + tile_of(world, being, living, config)
    space = kernel_room(world, agent, living, tables.weight, capacity, config.items)
    possible = possible_works(world, tables, agent, being, tile, living, space, config)
    tl.store(spaces + agent, space, mask=living)
    tl.store(masks + agent, possible, mask=living)


def test_possible_works_and_room_are_the_same(world):
    """Compares the functions that the observation uses, for living agents."""
    cfg = world.config
    there = world.to(KERNEL_DEVICE)
    spaces = torch.full((world.realms, cfg.slots), -1, dtype=torch.int32, device=KERNEL_DEVICE)
    masks = spaces.clone()
    cut = over_slots(world.realms, cfg.slots)
    launch(
        _masks, cut.programs, fields_of(_Workers, there), book(cfg.content, KERNEL_DEVICE), spaces, masks,
        cut.slots, cut.chunks, cfg.capacity, config=fields_of(_Config, cfg, **book_config(cfg)),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    living = world.agents(world.alive)
    assert torch.equal(spaces.cpu()[living], room(world)[living])
    bits = masks.cpu()[..., None] >> torch.arange(len(WORKS)) & 1
    assert torch.equal(bits.bool()[living], rule_of_masks(world)[living])
    assert (masks.cpu()[~living] == -1).all()
