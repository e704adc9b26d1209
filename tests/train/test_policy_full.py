"""The policy of the full game: its additional inputs and heads."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD
from support.observed import CONFIGS
from train.small import KINDS, randomize_biases, seen_in_a_random_world, shout, written_out

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.train import features
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.output import MASKED, auto_target
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.world.actions import MORE_HEADS, action_heads
from nmmo_gpu.world.observation_layout import NPC

HIDDEN, BATCH = 8, 17
RULES = preset("full", **{**ODD, "slots": 21, "populations": 3, "nearest": 5})
PARTS = {
    "work": {"works": ("fish", "eat")},
    "exchange": {"exchange": True},
    "talk": {"tokens": 5},
    "skills": {"skills": True},
    "NPCs": {"npcs": True},
}
"""Systems of the full game, each added to chaos on its own."""


def new_policy(recurrent=False, targeting="auto", world_config=RULES, **settings):
    config = PolicyConfig(hidden=HIDDEN, recurrent=recurrent, targeting=targeting, **settings)
    policy = Policy(world_config, config, torch.Generator().manual_seed(5))
    shout(policy)
    return policy


@pytest.fixture(scope="module")
def seen():
    """Returns (layout, records) of a random world, including empty slots."""
    layout, records, _ = seen_in_a_random_world(RULES, 4)
    return layout, records


def batch(rows, seed=1):
    """Returns (index [3, BATCH], recurrent state)."""
    random = torch.Generator().manual_seed(seed)
    index = torch.randint(rows, (3, BATCH), generator=random)
    return index, torch.randn(3, BATCH, HIDDEN, generator=random).tanh()


def look(policy, records, index, state):
    with torch.no_grad():
        return policy(records, index, state if policy.config.recurrent else None)


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_impossible_choices_have_probability_0(seen, recurrent, targeting):
    """Heads have the documented shapes. Works, trades and tokens are masked as in the observation, and prices
    have a mask per kind of trade."""
    layout, records = seen
    policy = new_policy(recurrent, targeting)
    index, state = batch(len(records))
    output = look(policy, records, index, state)
    views = layout.views(records[index])
    sizes = action_heads(RULES)
    for name in MORE_HEADS:
        head = getattr(output, name)
        assert head.shape == (3, BATCH, sizes[name]) and head.isfinite().all(), name
        if name != "price":
            possible = views[f"{name}_mask"]
            assert torch.equal(head == MASKED, ~possible), name
            assert name == "token" or (~possible).sum() > 30, "too few impossible choices to test"
    assert torch.equal(output.price_mask, views["price_mask"])
    assert output.move.shape[-1] == 5 and output.style.shape[-1] == 3
    assert output.target.shape[-1] == (2 if targeting == "auto" else 6)


def test_the_header_is_copied():
    """The copied part of a record is all of it but the windows, and its fields equal the record's, with any
    systems."""
    for name, (realms, config) in CONFIGS.items():
        layout, records, _ = seen_in_a_random_world(config, 3, realms)
        policy = new_policy(world_config=config)
        index, _ = batch(len(records))
        copied, whole = policy.header_fields(records, index), layout.views(records)
        assert whole.keys() - copied.keys() == {"material", "occupant"}, name
        assert all(torch.equal(view, whole[field][index]) for field, view in copied.items()), name


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_each_system_has_its_heads(part, targeting):
    """Each single system of the full game is added to chaos."""
    config = preset("chaos", **{**ODD, "slots": 21, "populations": 3, "nearest": 5, **PARTS[part]})
    _, records, _ = seen_in_a_random_world(config, 2)
    policy = new_policy(targeting=targeting, world_config=config)
    output = look(policy, records, *batch(len(records)))
    there = [name for name in MORE_HEADS if getattr(output, name) is not None]
    assert ["move", "style", "target", *there] == list(action_heads(config))
    for name in there:
        assert getattr(output, name).shape[-1] == action_heads(config)[name]
    assert output.value.isfinite().all()


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_the_network_matches_plain_code(seen, recurrent, targeting):
    """Window, own state, table, belongings and looks are multiplied by a matrix each in float64. The heads'
    matrix has one column per choice in the order of an action."""
    layout, records = seen
    policy = new_policy(recurrent, targeting)
    randomize_biases(policy)
    index, state = batch(len(records))
    output = look(policy, records, index, state)
    with torch.no_grad():
        weights = policy.weights()
    views = layout.views(records[index])
    window = written_out(records, index, weights.window, layout).double()
    factor, center = policy.self_scale.double()
    own = ((views["self"].double() - center) * factor).clamp(max=1.0)
    kinds = torch.stack((views["entity_kind"] == 1, views["entity_kind"] == 2), -1)
    table = torch.cat((views["entities"].double() * policy.entity_scale, kinds), -1)
    entity_attributes = features.entity_attributes(views, RULES).double()
    self_rows = torch.cat((features.self_attributes(views, RULES).double(), entity_attributes.flatten(2)), -1)
    added = self_rows @ torch.cat((policy.self_attributes, policy.entity_attributes), 1).double()
    trunk = window + own @ weights.self_in.double() + table.flatten(2) @ weights.entities.double()
    trunk = (trunk + torch.cat([added] * 4, -1) + weights.input_bias.double()).relu()
    hidden = (trunk @ weights.trunk[0].double() + weights.trunk_bias[0].double()).relu()
    if recurrent:
        with torch.no_grad():
            hidden = policy.gru_step(hidden.float(), state, weights).double()
    outputs = hidden @ weights.action_heads.double() + weights.action_heads_bias.double()
    rows = 1
    if targeting == "learned":
        query = hidden @ weights.query.double()
        aims = (torch.cat((table, entity_attributes), -1) @ query[..., None]).squeeze(-1)
        outputs = torch.cat((outputs[..., :9], aims, outputs[..., 9:]), -1)
        rows = RULES.nearest
    sizes = {**action_heads(RULES), "target": 1 + rows, "value": 1}
    expected = dict(zip(sizes, outputs.detach().split(list(sizes.values()), -1), strict=True))
    for name, logits in expected.items():
        found = getattr(output, name)
        if name == "value":
            logits = logits.squeeze(-1)
        allowed = found != MASKED
        assert allowed.float().mean() > 0.2, name
        torch.testing.assert_close(found.double()[allowed], logits[allowed], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_the_new_heads_have_their_own_weights(seen, targeting):
    """With zero weights and numbered biases, the new heads return these numbers, work first; the other heads
    do not change."""
    _, records = seen
    policy = new_policy(targeting=targeting)
    index, _ = batch(len(records))
    before = look(policy, records, index, None)
    numbers = torch.arange(float(policy.extra_heads_bias.shape[-1]))
    with torch.no_grad():
        policy.extra_heads.zero_()
        policy.extra_heads_bias.copy_(numbers)
    after = look(policy, records, index, None)
    logits = torch.cat([getattr(after, name) for name in MORE_HEADS], -1)
    assert torch.equal(logits[logits != MASKED], numbers.expand_as(logits)[logits != MASKED])
    for name in ("move", "style", "target", "value"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_populations_do_not_share_weights(seen, recurrent, targeting):
    """Outputs of the first population have no gradient in the others' weights, and a gradient in each of its
    own, including those of the full game."""
    _, records = seen
    policy = new_policy(recurrent, targeting)
    index, state = batch(len(records))
    output = policy(records, index, state if recurrent else None)
    spoken = [getattr(output, name)[0] for name in ("move", "style", "target", *MORE_HEADS)]
    wish = sum(part.clamp(min=-100).square().sum() for part in spoken) + output.value[0].square().sum()
    wish.backward()
    named = dict(policy.named_parameters())
    fresh = {"self_attributes", "entity_attributes", "extra_heads", "extra_heads_bias"} | (
        {"query_attributes"} if targeting == "learned" else set()
    )
    assert fresh <= named.keys()
    for name, parameter in named.items():
        assert not parameter.grad[1:].any() and parameter.grad[0].any(), name


def test_belongings_and_looks_change_the_output(seen):
    """Other goods, another quote and other looks of a neighbor each change the output. Looks of an empty row
    are always zero in records and are not tested."""
    layout, records = seen
    policy = new_policy(targeting="learned")
    rows = layout.views(records)["entity_kind"][:, 0].nonzero()[:, 0][:9].view(3, 3)
    before = look(policy, records, rows, None)
    for name, place in (("inventory", 3), ("goods", 0), ("levels", 8), ("offer", 0), ("market", 5)):
        changed = records.clone()
        view = layout.views(changed)[name]
        view[:, place] = view[:, place] * 2 + 1
        after = look(policy, changed, rows, None)
        assert not torch.equal(after.value, before.value), name
        assert torch.equal(after.price_mask, before.price_mask)
    changed = records.clone()
    layout.views(changed)["entity_attributes"][:, 0, 2] += 1
    after = look(policy, changed, rows, None)
    assert not torch.equal(after.value, before.value)
    assert not torch.equal(after.target[..., 1], before.target[..., 1])


def test_auto_targeting_treats_npcs_as_strangers(seen):
    """The target is the nearest stranger or NPC in the style's reach, and never a friend."""
    layout, records = seen
    policy = new_policy()
    views = layout.views(records)
    found = set()
    for style in range(3):
        chosen = auto_target(views, torch.full((len(records),), style)).tolist()
        for row, target in enumerate(chosen):
            kinds, reached = views["entity_kind"][row].tolist(), views["target_mask"][row, style, 1:].tolist()
            others = [k + 1 for k in range(5) if reached[k] and kinds[k] >= 2]
            assert target == (others[0] if others else 0)
            found.add(kinds[target - 1] if target else 0)
    assert found >= {0, 2} and any(kind >= NPC for kind in found)
    index = torch.arange(len(records)).view(3, -1)
    output = look(policy, records, index, None)
    wanted = (views["entity_kind"] >= 2)[:, None] & views["target_mask"][..., 1:]
    assert torch.equal(output.target_mask[..., 1], wanted.any(-1)[index])
    assert torch.equal(output.style[..., 1:] > MASKED, wanted.any(-1)[index][..., 1:])


@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_bf16_outputs_are_close_to_fp32(seen, targeting):
    """Heads are float32 and differ from those of fp32, by no more than 8 bits of mantissa explain."""
    _, records = seen
    index, state = batch(len(records))
    exact, rough = (
        look(new_policy(targeting=targeting, precision=kind), records, index, state)
        for kind in ("fp32", "bf16")
    )
    for name in ("move", "style", "target", "value", *MORE_HEADS):
        one, other = getattr(exact, name), getattr(rough, name)
        masked = one == MASKED
        assert other.dtype == torch.float32 and torch.equal(masked, other == MASKED), name
        off = (one - other)[~masked].abs()
        assert 0 < float(off.max()) < 0.05 * float(one[~masked].abs().max()), name


CHAOS = {
    "window": (8, 225, 9, 16), "self_in": (8, 12, 16), "entities": (8, 80, 16), "input_bias": (8, 1, 16),
    "trunk": (8, 1, 4, 16, 16), "trunk_bias": (8, 1, 1, 16), "directional_head": (8, 4, 16, 1),
    "invariant_head": (8, 16, 6),
    "value": (8, 16, 1), "directional_head_bias": (8, 1, 1), "invariant_head_bias": (8, 1, 6),
    "value_bias": (8, 1, 1),
}  # fmt: skip


def test_weights_of_chaos_have_not_changed():
    """Names and shapes keep their order, so that old checkpoints can be loaded."""
    policy = Policy(WorldConfig(), PolicyConfig(), torch.Generator().manual_seed(0))
    assert {name: tuple(weight.shape) for name, weight in policy.state_dict().items()} == CHAOS
    assert [name for name, _ in policy.named_parameters()] == list(CHAOS)
    # Weights of the full game are drawn after these: the same seed starts with the same weights.
    config = preset("chaos", tokens=2)
    talking = Policy(config, PolicyConfig(), torch.Generator().manual_seed(0)).state_dict()
    assert all(torch.equal(weight, talking[name]) for name, weight in policy.state_dict().items())
    assert talking.keys() > policy.state_dict().keys()
