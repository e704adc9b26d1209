"""The input matrix by the kernels, compared with torch."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import lively_env, random_records, seen_in_a_random_world

pytest.importorskip("triton")

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import STANDARD
from nmmo_gpu.kernels.train import inputs as kernels
from nmmo_gpu.train import inputs as plain
from nmmo_gpu.world.network_inputs import InputColumns
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, SELF_FEATURES, ObservationLayout

OWN_SCALE = torch.stack((torch.linspace(0.01, 0.5, len(SELF_FEATURES)), torch.arange(len(SELF_FEATURES)) - 4))
ENTITY_SCALE = torch.linspace(0.05, 1.0, len(ENTITY_FEATURES))


@pytest.fixture(params=["as used", "small blocks"])
def blocks(request, monkeypatch):
    """Uses the default block sizes, and small ones that need many blocks for few records and columns."""
    if request.param == "small blocks":
        for name, size in (("COLUMNS", 64), ("RECORDS", 2), ("STEPS", 3), ("HEADER", 1)):
            monkeypatch.setattr(kernels, name, size)


def both(records, index, config, dtype=torch.float32):
    """Returns the input matrices (by the kernels, by torch)."""
    there = (part.to(KERNEL_DEVICE) for part in (records, index))
    scales = (part.to(KERNEL_DEVICE) for part in (OWN_SCALE, ENTITY_SCALE))
    found = kernels.encode_inputs(*there, config, *scales, dtype)
    assert found.dtype == dtype and found.is_contiguous()
    return found.cpu(), plain.encode_inputs(records, index, config, OWN_SCALE, ENTITY_SCALE, dtype)


@pytest.mark.parametrize("rows", [1, 15, 16, 37])
@pytest.mark.parametrize(("vision", "nearest"), [(1, 1), (2, 7), (4, 20)])
@pytest.mark.usefixtures("blocks")
def test_any_record_to_the_last_bit(vision, nearest, rows):
    """Garbage in the headers of records and any window; odd numbers of cells, entities and rows; a strided
    index with repetitions."""
    config = WorldConfig(vision=vision, reach=(1, 1, 1), nearest=nearest)
    random = torch.Generator().manual_seed(rows)
    records = random_records(ObservationLayout(config), 23, random)
    index = torch.randint(23, (rows, 3), generator=random).t()
    found, expected = both(records, index, config)
    assert found.shape == (3, rows, InputColumns.of(config).width)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("kinds", [1, 3, 20])
@pytest.mark.usefixtures("blocks")
def test_npcs_have_codes_of_their_own(kinds):
    """9, 11 or 28 codes per cell, in windows of 25 cells."""
    content = dataclasses.replace(
        STANDARD, npcs=tuple(dataclasses.replace(STANDARD.npcs[0], name=str(k)) for k in range(kinds))
    )
    config = WorldConfig(vision=2, reach=(1, 1, 1), npcs=True, content=content, slots=24, populations=2)
    layout = ObservationLayout(config)
    random = torch.Generator().manual_seed(kinds)
    records = random_records(layout, 23, random, occupants=3 + kinds)
    records[:, : layout.header_bytes] = 0
    index = torch.randint(23, (2, 19), generator=random)
    found, expected = both(records, index, config)
    window = InputColumns.of(config).window
    assert torch.equal(found[..., window], expected[..., window])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert found[..., window].unflatten(-1, (25, -1)).any(2).flatten(0, 1).any(0).all(), "a code never occurs"


@pytest.mark.usefixtures("blocks")
def test_the_full_game():
    """Observations of a random world, including attributes; logarithms match up to rounding, all else
    exactly."""
    config = preset("full", slots=40, populations=2)
    _, records, _ = seen_in_a_random_world(config, 5)
    index = torch.randint(len(records), (2, 53), generator=torch.Generator().manual_seed(1))
    found, expected = both(records, index, config)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    before = slice(0, InputColumns.of(config).attributes.start)
    assert torch.equal(found[..., before], expected[..., before])


def test_half_precision_in_a_crowd():
    """bfloat16, in a crowd with empty slots: one-hot codes are exact, numbers match up to rounding."""
    env = lively_env(vision=5)
    records = env.records.view(-1, env.layout.bytes)
    assert (~env.layout.views(records)["alive"]).any()
    index = torch.arange(len(records)).view(3, -1)
    found, expected = both(records, index, env.config.world, torch.bfloat16)
    one = InputColumns.of(env.config.world).one
    assert torch.equal(found[..., : one + 1], expected[..., : one + 1])
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=0)
