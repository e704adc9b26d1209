"""The features of the full game: numbers computed by hand, and the bits of the numba backend."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from support.helpers import KERNEL_DEVICE, ODD
from train.small import seen_in_a_random_world

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import SKILLS, Content
from nmmo_gpu.train import features
from nmmo_gpu.train.features import entity_attributes, self_attributes
from nmmo_gpu.world.network_inputs import entity_attributes_width, self_attributes_width
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ObservationLayout

TALK = {"skills": False, "works": (), "rolls": False, "npcs": False, "exchange": False}
RULES = {
    "all systems": {},
    "without skills": {"skills": False, "max_health": 13},
    "without NPCs": {"npcs": False},
    "without talk": {"tokens": 0},
    "talk alone": TALK,
    "talk, and nothing to have": {**TALK, "content": Content(prices=(1,))},
}


def rules_of(name: str) -> WorldConfig:
    """Returns the full game with the named changes and 21 slots in 3 populations."""
    return preset("full", **{**ODD, "slots": 21, "populations": 3, "nearest": 5, **RULES[name]})


def log2_scale(number, many):
    return math.log2(number + 1) / many


def test_belongings_by_hand():
    """One agent's record is checked column by column."""
    config = preset("full")
    layout = ObservationLayout(config)
    record = layout.allocate(1, device="cpu")
    views = layout.views(record)
    levels = [1, 3, 7, 15, 20, 31, 63, 99, 2]
    views["levels"][0] = torch.tensor(levels)
    views["self"][0, 1] = 5  # health
    views["goods"][0] = torch.tensor([1023, 7])
    views["inventory"][0, [0, 16, 21]] = torch.tensor([14, 60, 1], dtype=torch.int16)
    views["offer"][0] = torch.tensor([2, 4, 16, 25])
    views["market"][0, 0] = torch.tensor([4, 8, 2], dtype=torch.uint8)
    views["market"][0, 21] = torch.tensor([0, 16, 0], dtype=torch.uint8)

    encoded = self_attributes(views, config)[0]
    assert encoded.dtype == torch.float32 and len(encoded) == self_attributes_width(config) == 148
    parts = encoded.split([9, 1, 2, 22, 22, 4, 22, 66])
    levels_told, health, goods, held, any_held, offer, wanted, market = (part.tolist() for part in parts)
    assert levels_told == pytest.approx([log2_scale(level, 4) for level in levels])
    assert levels_told[3] == 1.0
    assert health == [0.25]
    assert goods == [1.0, 0.25]
    assert held == pytest.approx([0.5] + [0.0] * 15 + [1.0] + [0.0] * 4 + [1 / 28])
    assert any_held == [1.0] + [0.0] * 15 + [1.0] + [0.0] * 4 + [1.0]
    assert offer == [0.0, 1.0, 1.0, 0.25]
    assert wanted == [0.0, 0.0, 0.0, 1.0] + [0.0] * 18
    # No ask is scaled like a price above the highest, and no bid like one below the lowest.
    nothing = [0.0, 17 / 16, 0.0]
    assert market == pytest.approx([4 / 16, 8 / 16, 2 / 16, *nothing * 20, 0.0, 1.0, 0.0])


def test_belongings_without_skills():
    """Maximum health is then the setting's."""
    config = preset("full", skills=False, max_health=20)
    layout = ObservationLayout(config)
    record = layout.allocate(1, device="cpu")
    views = layout.views(record)
    views["self"][0, 1], views["levels"][0] = 5, 10
    assert float(self_attributes(views, config)[0, 9]) == 0.25
    views["offer"][0] = torch.tensor([1, 22, 1, 100])
    encoded = self_attributes(views, config)[0]
    assert encoded[56:60].tolist() == pytest.approx([1.0, 0.0, 1 / 16, 1.0])
    assert encoded[60:82].nonzero().tolist() == [[21]]


def test_looks_by_hand():
    """The rows are an agent, a bear and an empty one."""
    config = preset("full", nearest=3)
    layout = ObservationLayout(config)
    record = layout.allocate(1, device="cpu")
    views = layout.views(record)
    views["entity_kind"][0] = torch.tensor([2, 5, 0], dtype=torch.uint8)
    views["entities"][0, 0, 3], views["entities"][0, 1, 3] = 4, 30
    assert ENTITY_ATTRIBUTES == (
        "npc_kind", "combat_level", "sword", "knife", "armor", "token", "max_health", "immune",
    )  # fmt: skip
    views["entity_attributes"][0, 0] = torch.tensor([0, 7, 1, 2, 3, 7, 16, 1])
    views["entity_attributes"][0, 1] = torch.tensor([3, 15, 0, 0, 0, 0, 40, 0])

    encoded = entity_attributes(views, config)[0]
    assert encoded.dtype == torch.float32 and encoded.shape == (3, entity_attributes_width(config)) == (3, 17)
    agent, bear, empty = encoded
    assert agent[:3].tolist() == [0.0, 0.0, 0.0] and bear[:3].tolist() == [0.0, 0.0, 1.0]
    assert agent[3:5].tolist() == pytest.approx([0.75, log2_scale(16, 4)])
    assert bear[3:5].tolist() == pytest.approx([1.0, log2_scale(40, 4)])
    assert agent[5:9].tolist() == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    assert not bear[5:9].any()
    assert agent[9:16].tolist() == [0.0] * 6 + [1.0] and not bear[9:16].any()
    assert float(agent[16]) == 0.25 and float(bear[16]) == 0.75
    assert not empty.any()


@pytest.mark.parametrize("name", RULES)
def test_belongings_are_followed_by_the_looks(name):
    """The looks come row by row and are the same numbers as by themselves."""
    config = rules_of(name)
    layout, records, _ = seen_in_a_random_world(config, 3)
    index = torch.tensor([[0, 5, 62], [62, 62, 30]])
    picked = layout.views(records[index])
    about_all, about_others = features.encode_features(records, index, picked, config, torch.float32)
    assert about_all.shape == (2, 3, self_attributes_width(config) + 5 * entity_attributes_width(config))
    assert torch.equal(about_all[..., : self_attributes_width(config)], self_attributes(picked, config))
    assert torch.equal(about_others, entity_attributes(picked, config))
    assert torch.equal(about_all[..., self_attributes_width(config) :], about_others.flatten(2))


@pytest.mark.parametrize("name", RULES)
def test_numba_has_the_same_bits(name):
    """The records are those of random worlds with empty slots, in any order and with repetitions."""
    loops = pytest.importorskip("nmmo_gpu.cpu.train.features", exc_type=ImportError)
    config = rules_of(name)
    random = torch.Generator().manual_seed(8)
    for seed in range(2):
        layout, records, _ = seen_in_a_random_world(config, seed)
        index = torch.randint(len(records), (3, 101), generator=random)
        picked = layout.views(records[index])
        found = [
            module.encode_features(records, index, picked, config, torch.float32)
            for module in (loops, features)
        ]
        for one, other in zip(*found, strict=True):
            assert one.isfinite().all() and one.any()
            assert torch.equal(one, other)
        dead = ~layout.views(records[index])["alive"]
        assert dead.any() and not found[0][1][dead].any()


@pytest.mark.parametrize("name", RULES)
def test_the_kernel_agrees_to_rounding(name, monkeypatch):
    """In float32 and in bfloat16; other columns of the matrix are unchanged."""
    kernels = pytest.importorskip("nmmo_gpu.kernels.train.features")
    monkeypatch.setattr(kernels, "RECORDS", 32)
    config = rules_of(name)
    layout, records, _ = seen_in_a_random_world(config, 5)
    index = torch.randint(len(records), (3, 37), generator=torch.Generator().manual_seed(1))
    picked = layout.views(records[index])
    exact = torch.cat((self_attributes(picked, config), entity_attributes(picked, config).flatten(2)), -1)
    for dtype, rounding in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        there = (part.to(KERNEL_DEVICE) for part in (records, index))
        matrix = torch.full((3, 37, exact.shape[-1] + 12), -7.0, dtype=dtype, device=KERNEL_DEVICE)
        kernels.encode_features(*there, config, matrix[..., 5:-7])
        found = matrix.cpu()
        torch.testing.assert_close(found[..., 5:-7].float(), exact, rtol=rounding, atol=rounding)
        assert (found[..., :5] == -7).all() and (found[..., -7:] == -7).all()


def test_features_stay_small():
    """Whatever happens in a long life, all columns stay within -0.1 ... 3, so that none dominates the
    others."""
    config = preset("full")
    layout = ObservationLayout(config)
    record = layout.allocate(1, device="cpu")
    views = layout.views(record)
    views["levels"].fill_(99)
    views["self"][:, 1] = 99
    views["goods"][0] = torch.tensor([32767, 28])
    views["inventory"].fill_(32767)
    views["offer"][0] = torch.tensor([1, 22, 16, 100])
    views["market"].fill_(16)
    views["entity_kind"].fill_(2)
    views["entity_attributes"].fill_(99)
    views["entity_attributes"][..., 2:5], views["entity_attributes"][..., 7] = 3, 1
    views["entities"][..., 3] = 99
    encoded = torch.cat((self_attributes(views, config), entity_attributes(views, config).flatten(1)), 1)
    assert float(encoded.min()) > -0.1 and float(encoded.max()) < 3.0


def test_widths_depend_on_the_content():
    """There are two items and one kind of NPC fewer."""
    content = preset("full").content
    fewer = dataclasses.replace(content, npcs=content.npcs[:2], prices=content.prices[:5])
    config = preset("full", content=fewer, tokens=3)
    layout = ObservationLayout(config)
    views = layout.views(layout.allocate(4, device="cpu"))
    assert self_attributes(views, config).shape == (4, self_attributes_width(config))
    assert entity_attributes(views, config).shape == (4, 8, entity_attributes_width(config))
    assert entity_attributes_width(config) == 2 + 6 + 2 + 1
    assert len(SKILLS) == 9
