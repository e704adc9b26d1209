"""The kernels of work against the rule in torch, cut into blocks in every way, to the last bit; and masks."""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import pytest
import torch
from support.goods import MORE, busy_world, random_works
from support.helpers import KERNEL_DEVICE, ODD, assert_same, carried, unclean

pytest.importorskip("triton")

import triton
import triton.language as tl

from nmmo_gpu.content import STANDARD, WORKS, Content
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.kernels.inventory import room as kernel_room
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_agents, tile_of
from nmmo_gpu.kernels.work import book, book_config, possible_works
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.inventory import room
from nmmo_gpu.world.work import possible_works as rule_of_masks
from nmmo_gpu.world.work import work as rule

TRITON = carried(resolve("triton", KERNEL_DEVICE), KERNEL_DEVICE)
SETTINGS = {
    "full": (2, None, {}),
    "in blocks of 32": (2, 32, {"npcs": False}),
    "three realms of seven": (3, None, {**ODD, "slots": 7}),
    "no skills": (1, None, {"skills": False, "max_health": 30, "ore_regrowth": 0.0}),
    "more content": (1, 64, {"content": MORE, "ore_regrowth": 1.0}),
    "a few works": (1, None, {"works": ("eat", "mine", "sword"), "capacity": 9}),
    "no mining": (1, None, {"works": ("fish", "armor", "cook")}),
    "nothing to make": (
        1, None, {"content": Content(items=STANDARD.items[:4], prices=(1,)), "npcs": False},
    ),
}  # fmt: skip
"""Realms, block, rules."""


@cache
def settled(setting):
    """A world with garbage in the slots of the dead, and some killed."""
    realms, _, changes = SETTINGS[setting]
    return busy_world(realms, len(setting), **changes)


@pytest.fixture(params=SETTINGS)
def world(request, monkeypatch):
    """A fresh copy, and kernels that cut it as the setting says."""
    block = SETTINGS[request.param][1]
    if block is not None:
        monkeypatch.setattr(launching, "BLOCK", block)
    return settled(request.param).clone()


def test_worlds_after_work_are_the_same(world):
    """Choices lie in a larger tensor, of a smaller type; notes of an earlier tick do not matter."""
    twins = world.clone()
    work = random_works(world, 7)
    actions = torch.full((*work.shape, 3), 5, dtype=torch.int16)
    actions[..., 1] = work
    if KERNEL_DEVICE.type == "cpu":
        twins.workspace("ore struck", tuple(work.shape), torch.int32).fill_(9)
    rule(world, work)
    TRITON.work(twins, actions[..., 1])
    assert_same(world, twins)
    assert unclean(twins) == []


def test_what_makes_its_own_ingredient():
    """One count goes down and up in one step: of two pearls one becomes two."""
    world = settled("more content").clone()
    pearl = len(STANDARD.items)
    world.inventory.zero_()
    world.offer.zero_()
    world.inventory[..., pearl] = 2
    world.level[...] = 9
    twins = world.clone()
    work = torch.full((world.realms, world.config.slots), WORKS.index("armor"))
    rule(world, work)
    TRITON.work(twins, work)
    assert_same(world, twins)
    works = world.agents(world.alive & (world.health > 0))
    assert torch.equal(world.inventory[..., pearl], 2 + works.int())


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
    """The functions that the observation builds on; for the living."""
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
