"""The network's input matrix: each column compared with the field of the record."""

from __future__ import annotations

import torch
from train.small import lively_env, seen_in_a_random_world

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import Material
from nmmo_gpu.train import features
from nmmo_gpu.train.inputs import encode_inputs
from nmmo_gpu.world.network_inputs import InputColumns, codes
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, SELF_FEATURES

OWN_SCALE = torch.stack((torch.linspace(0.01, 0.5, len(SELF_FEATURES)), torch.arange(len(SELF_FEATURES)) - 4))
ENTITY_SCALE = torch.linspace(0.05, 1.0, len(ENTITY_FEATURES))


def test_the_matrix_matches_the_records():
    """In a crowd, a cell has one code for its material unless it is grass, and one for its occupant. Own
    state is centered, scaled and at most 1; the table is scaled, with one column each for friends and
    strangers. All other columns are zero, and so are empty rows."""
    env = lively_env(vision=4)
    config, layout = env.config.world, env.layout
    records = env.records.view(-1, layout.bytes)
    columns = InputColumns.of(config)
    index = torch.randint(len(records), (3, 25), generator=torch.Generator().manual_seed(1))
    inputs = encode_inputs(records, index, config, OWN_SCALE, ENTITY_SCALE, torch.float32)
    assert inputs.shape == (3, 25, columns.width) and inputs.dtype == torch.float32
    views = layout.views(records[index])
    grounds = [m for m in Material if m != Material.GRASS]
    occupied = 0
    for p in range(3):
        for b in range(25):
            given = inputs[p, b].tolist()
            expected = [0.0] * columns.width
            cells = views["material"][p, b].flatten().tolist(), views["occupant"][p, b].flatten().tolist()
            for cell, (ground, occupant) in enumerate(zip(*cells, strict=True)):
                if ground != Material.GRASS:
                    expected[cell * 8 + grounds.index(ground)] = 1.0
                if occupant:
                    expected[cell * 8 + len(grounds) + occupant - 1] = 1.0
                    occupied += 1
            expected[columns.one] = 1.0
            own = views["self"][p, b].tolist()
            for i, value in enumerate(own):
                scaled = (value - OWN_SCALE[1, i]) * OWN_SCALE[0, i]
                expected[columns.own.start + i] = min(1.0, float(scaled))
            for k, row in enumerate(views["entities"][p, b].tolist()):
                at = columns.entities.start + 10 * k
                for i, value in enumerate(row):
                    expected[at + i] = float(value * ENTITY_SCALE[i])
                kind = int(views["entity_kind"][p, b, k])
                expected[at + 8], expected[at + 9] = float(kind == 1), float(kind == 2)
            assert given == expected
    assert occupied and (views["self"][..., 0] * OWN_SCALE[0, 0] > 1).any() | views["self"].any()


def test_attributes_of_the_full_game():
    """They are copied to their columns, and the codes of NPCs follow the stranger's."""
    config = preset("full", slots=40, populations=2)
    layout, records, _ = seen_in_a_random_world(config, 4)
    columns = InputColumns.of(config)
    index = torch.randint(len(records), (2, 31), generator=torch.Generator().manual_seed(1))
    views = layout.views(records[index])
    inputs = encode_inputs(records, index, config, OWN_SCALE, ENTITY_SCALE, torch.float32)
    attributes, _ = features.encode_features(records, index, views, config, torch.float32)
    assert torch.equal(inputs[..., columns.attributes], attributes) and attributes.any()
    cells = inputs[..., columns.window].unflatten(-1, (-1, codes(config) - 1))
    occupant = views["occupant"].flatten(2)
    assert (occupant > 2).any()
    for kind in range(1, codes(config) - len(Material) + 1):
        hit = cells[..., len(Material) - 2 + kind] == 1.0
        assert torch.equal(hit, occupant == kind), kind


def test_half_precision_is_the_rounded_matrix():
    """bfloat16 values are those of float32, rounded once."""
    config = WorldConfig(vision=2, reach=(1, 1, 1), slots=40, populations=2)
    _, records, _ = seen_in_a_random_world(config, 4)
    index = torch.arange(len(records)).view(2, -1)
    exact, rounded = (
        encode_inputs(records, index, config, OWN_SCALE, ENTITY_SCALE, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert rounded.dtype == torch.bfloat16 and torch.equal(rounded, exact.to(torch.bfloat16))
