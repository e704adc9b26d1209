"""The four directions are alike: turn the world by a quarter, and the choice turns with it."""

from __future__ import annotations

import pytest
import torch
from train.small import CPU, KINDS, lively_env, reloaded, shout, small

from nmmo_gpu.train.policy import MASKED, Policy
from nmmo_gpu.train.run import Run, load_policy
from nmmo_gpu.trinity import Sword
from nmmo_gpu.world.layout import ENTITY_FEATURES, SELF_FEATURES
from nmmo_gpu.world.movement import MOVES

CLOCKWISE = [MOVES.index((col, -row)) for row, col in MOVES]
"""What each move becomes when the world is turned clockwise: east becomes south."""


def turned(layout, records, side):
    """The same records in a world of side x side tiles that has been turned clockwise by a quarter."""
    out = records.clone()
    was, now = layout.views(records), layout.views(out)
    for name in ("material", "occupant"):
        now[name].copy_(torch.rot90(was[name], -1, (-2, -1)))
    row, col = SELF_FEATURES.index("row"), SELF_FEATURES.index("col")
    now["self"][..., row], now["self"][..., col] = was["self"][..., col], side - 1 - was["self"][..., row]
    row, col = SELF_FEATURES.index("heading_row"), SELF_FEATURES.index("heading_col")
    now["self"][..., row], now["self"][..., col] = was["self"][..., col], -was["self"][..., row]
    row, col = ENTITY_FEATURES.index("row_offset"), ENTITY_FEATURES.index("col_offset")
    now["entities"][..., row] = was["entities"][..., col]
    now["entities"][..., col] = -was["entities"][..., row]
    for move, becomes in enumerate(CLOCKWISE):
        now["move_mask"][..., becomes] = was["move_mask"][..., move]
    return out


def crowd_policy(recurrent, targeting, seed=1):
    """A policy for ``lively_env``, with loud heads and biases that are not zero."""
    config = small(
        slots=60, populations=3, nearest=7, hidden=12, recurrent=recurrent, targeting=targeting, seed=seed
    )
    policy = Policy(config.env.world, config.policy, torch.Generator().manual_seed(seed))
    shout(policy)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=random))
    return policy


def rolled(memory, turns):
    """A memory of which the four copies of each feature have been renumbered."""
    return memory.unflatten(-1, (4, -1)).roll(turns, -2).flatten(-2)


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_the_choice_turns_with_the_world(recurrent, targeting):
    """Moves change places as directions do; styles, targets and value stay; memories change copies. All four
    turns, for everybody in a crowd."""
    env = lively_env()
    policy = crowd_policy(recurrent, targeting)
    seen = env.records[env.world.alive]
    seen = seen[: len(seen) // 3 * 3]
    index = torch.arange(len(seen)).view(3, -1)
    random = torch.Generator().manual_seed(2)
    memory = torch.randn(*index.shape, 12, generator=random).tanh() if recurrent else None
    with torch.no_grad():
        first = policy(seen, index, memory)
    directions = first.move[first.move[..., 1:].min(-1).values > MASKED][:, 1:]
    assert directions.std(-1).max() > 0.05, "directions must differ in what is seen"

    expected = first.move
    for turn in range(1, 5):
        seen = turned(env.layout, seen, 40)
        # Which way the copies are counted is the network's own affair: either way will do, if it is one.
        with torch.no_grad():
            ways = [policy(seen, index, rolled(memory, way * turn)) for way in (1, -1)] if recurrent else [
                policy(seen, index)
            ]  # fmt: skip
        expected = torch.empty_like(expected).index_copy_(-1, torch.tensor(CLOCKWISE), expected)
        fits = []
        for way, found in zip((1, -1), ways, strict=False):
            pairs = [
                (found.move, expected), (found.style, first.style), (found.target, first.target),
                (found.value, first.value),
            ]  # fmt: skip
            if targeting == "learned":
                assert torch.equal(found.target_mask, first.target_mask)
            if recurrent:
                pairs.append((found.state, rolled(first.state, way * turn)))
            fits.append(all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs))
        assert any(fits), f"turned {turn} times"


def test_four_turns_are_none():
    """The test's own turn: four quarters give the records back, one does not."""
    env = lively_env(ticks=5)
    seen = env.records[env.world.alive]
    one = turned(env.layout, seen, 40)
    assert not torch.equal(one, seen)
    for _ in range(3):
        one = turned(env.layout, one, 40)
    assert torch.equal(one, seen)
    assert CLOCKWISE == [0, 2, 3, 4, 1], "stay; east, south, west, north, east"


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_the_matrices_are_those_of_the_weights(recurrent, targeting, tmp_path):
    """With and without gradient the same matrices, after every way in which weights change: made anew by
    an update, loaded from a checkpoint, written in place."""

    def assert_fresh(policy):
        with torch.enable_grad():
            fresh = policy.weights()
        with torch.no_grad():
            used = policy.weights()
        for name, one, other in zip(fresh._fields, fresh, used, strict=True):
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other), name

    config = small(recurrent=recurrent, targeting=targeting)
    run = Run(config)
    assert_fresh(run.sword.policy)
    for _ in range(2):
        run.iterate()
        assert_fresh(run.sword.policy)
    stored = reloaded(run, tmp_path / "checkpoint.safetensors")
    other = Sword(small(seed=9, recurrent=recurrent, targeting=targeting), CPU)
    assert_fresh(other.policy)
    load_policy(other, stored)
    assert_fresh(other.policy)
    with torch.no_grad():
        run.sword.policy.trunk.mul_(1.5)
    assert_fresh(run.sword.policy)
