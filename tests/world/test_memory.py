"""The memory estimate compared with tensors that are really allocated."""

from __future__ import annotations

import pytest
import torch
from train.small import CPU, small

from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world import memory
from nmmo_gpu.world.memory import (
    GIB,
    Part,
    available,
    check_memory,
    environment_parts,
    meta_world,
    world_parts,
)

CONFIG = small(realms=3, slots=20, populations=4, height=33, width=47).env


def test_the_world_and_the_observations_to_the_byte():
    """The parts add up to the tensors of an environment."""
    env = Env(CONFIG)
    made = sum(tensor.nbytes for _, tensor in env.world.tensors())
    assert sum(part.bytes for part in world_parts(env.world)) == made
    assert world_parts(meta_world(CONFIG)) == world_parts(env.world)
    buffers = sum(buffer.nbytes for buffer in env._buffers) + env._seen.nbytes
    assert environment_parts(CONFIG)[-1].bytes == buffers > 0


def test_tiles_and_footprints_have_their_own_parts():
    """Six planes take 11 bytes a tile, including one byte for the shore bit; footprints take 512 bytes an
    agent."""
    tiles, footprints, rest = world_parts(meta_world(CONFIG))
    assert tiles.bytes == 3 * 33 * 47 * (1 + 1 + 1 + 4 + 4 + 1)
    assert footprints.bytes == 3 * 20 * 512
    assert 0 < rest.bytes < 3 * 20 * 64 + 1000


def test_too_little_memory_is_an_error_with_the_remedy(monkeypatch):
    """It has the needed and the free memory, the largest part and the remedy. Exactly enough memory is
    accepted."""
    monkeypatch.setattr(memory, "available", lambda device: 5 * GIB)
    parts = [Part("small things", GIB), Part("the large thing", 4 * GIB)]
    check_memory(parts, CPU, "realms")
    message = r"needs about 5\.0 GiB, and cpu has 5\.0 GiB free; the largest part is: the large thing, 4\.0"
    with pytest.raises(ConfigError, match=message):
        check_memory([*parts, Part("a byte", 1)], CPU, "realms")
    monkeypatch.setattr(memory, "available", lambda device: None)
    check_memory([Part("anything", 1 << 60)], CPU, "realms")


def test_a_world_that_does_not_fit_is_refused_before_it_is_allocated(monkeypatch):
    """Nothing of its size is allocated, and no terrain is drawn."""
    monkeypatch.setattr("nmmo_gpu.env.realm_maps", lambda *arguments: pytest.fail("terrain was drawn"))
    monkeypatch.setattr(memory, "available", lambda device: 1000)
    with pytest.raises(ConfigError, match=r"Lower realms, slots, height or width"):
        Env(CONFIG)


def test_torchs_gpu_cache_counts_as_free(monkeypatch):
    """Memory that its allocator has cached is added to what the driver reports."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert available(torch.device("cuda", 0)) == 1500


def test_free_memory():
    """On Linux it is the kernel's figure, which may change between two readings; elsewhere it is unknown."""
    free = available(CPU)
    assert free is None or 1 << 20 < free < 1 << 50
    assert available(torch.device("meta")) is None
