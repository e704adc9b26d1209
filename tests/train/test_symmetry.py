"""The network is equivariant under rotations: rotating an agent's observation rotates its move."""

import pytest
import torch

from nmmo_gpu.env import make, random_actions
from nmmo_gpu.train import symmetry
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.world.actions import MORE_HEADS
from nmmo_gpu.world.observation_layout import SELF_FEATURES

TURNED_MOVES = [0, 2, 3, 4, 1]
"""What each move (stay, east, south, west, north) becomes when the world is rotated clockwise by a quarter
turn."""


@pytest.fixture(scope="module", params=["chaos", "full"])
def env(request):
    """Returns a world after some ticks, whose population is as old as random agents get."""
    env = make(request.param, realms=1, births=-1, seed=1, populations=4)
    env.reset()
    for _ in range(30):
        env.step(random_actions(env))
    return env


def turned(env, records):
    """Rotates the records as if the world were rotated clockwise: east becomes south."""
    out = records.clone()
    before, after = env.layout.views(records), env.layout.views(out)
    for plane in ("material", "occupant"):
        after[plane].copy_(torch.rot90(before[plane], -1, (1, 2)))
    for part, row in (("entities", 0), ("self", SELF_FEATURES.index("heading_row"))):
        after[part][..., row] = before[part][..., row + 1]
        after[part][..., row + 1] = -before[part][..., row]
    row, last = SELF_FEATURES.index("row"), env.config.world.height - 1
    after["self"][:, row] = before["self"][:, row + 1]
    after["self"][:, row + 1] = last - before["self"][:, row]
    after["move_mask"][:, TURNED_MOVES] = before["move_mask"]
    return out


@pytest.mark.parametrize("targeting", ["auto", "learned"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_rotating_the_world_rotates_the_move_only(env, targeting, recurrent):
    hidden = 24
    config = PolicyConfig(hidden=hidden, targeting=targeting, recurrent=recurrent)
    generator = torch.Generator().manual_seed(0)
    policy = Policy(env.config.world, config, generator)
    for parameter in policy.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    records = env.records.view(-1, env.layout.bytes)
    records = records[env.layout.views(records)["alive"]]
    agents = len(records)
    index = torch.arange(agents).expand(4, agents)
    state = torch.randn(4, agents, hidden, generator=generator) if recurrent else None

    def turn_memory(memory):
        copies = memory.unflatten(-1, (symmetry.TURNS, -1))
        return copies.roll(1, 2).flatten(2)

    plain = policy(records, index, state)
    other = policy(turned(env, records), index, None if state is None else turn_memory(state))
    expected = torch.empty_like(plain.move)
    expected[..., TURNED_MOVES] = plain.move
    torch.testing.assert_close(other.move, expected, rtol=1e-4, atol=1e-4)
    more = [name for name in MORE_HEADS if getattr(plain, name) is not None]
    assert len(more) == (4 if env.config.world.extended else 0)
    for name in ("style", "target", "value", *more):
        torch.testing.assert_close(getattr(other, name), getattr(plain, name), rtol=1e-4, atol=1e-4)
    assert torch.equal(other.target_mask, plain.target_mask)
    if recurrent:
        torch.testing.assert_close(other.state, turn_memory(plain.state), rtol=1e-4, atol=1e-4)
    # The test could not fail if all directions gave the same output.
    assert (plain.move[..., 1:].std(-1) > 0.01).float().mean() > 0.5
    assert not torch.allclose(other.move, plain.move)


def test_cells_rotate_with_the_window():
    """Copy g of a table applied to a window equals copy 0 applied to the window rotated back."""
    window = torch.arange(25.0, dtype=torch.float64).view(5, 5)
    free = torch.randn(1, 25, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = symmetry.lift_cells(free)
    assert table.shape == (1, 25, 1, 4) and torch.equal(table[..., :1], free)
    for g in range(symmetry.TURNS):
        # Rotating the window back by g quarter turns brings direction g to the east.
        back = torch.rot90(window, g).reshape(-1)
        assert torch.allclose(table[0, :, 0, g] @ window.reshape(-1), free[0, :, 0, 0] @ back)


def test_vectors_rotate_and_scalars_do_not():
    turns = symmetry.turned_features(("a", "row", "col"), (("row", "col"),))
    south = torch.tensor([7.0, 1.0, 0.0])
    # In the frame of the copy that faces south, south is east: no rows, one column.
    assert (turns[1] @ south).tolist() == [7.0, 0.0, 1.0]
    assert torch.equal(turns[0], torch.eye(3))
    assert torch.allclose(turns[1] @ turns[1] @ turns[1] @ turns[1], torch.eye(3))
    assert torch.equal(turns[3], turns[1].T)


def test_weights_are_rebuilt_when_the_free_ones_change(env):
    """Also with a fused optimizer, which does not increment the versions of its tensors."""
    policy = Policy(env.config.world, PolicyConfig(hidden=8), torch.Generator().manual_seed(0))
    index = torch.arange(6).expand(4, 6)
    records = env.records.view(-1, env.layout.bytes)

    def value():
        with torch.no_grad():
            return policy(records, index).value

    first = value()
    assert torch.equal(value(), first)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1, fused=True)
    policy(records, index).value.sum().backward()
    optimizer.step()
    second = value()
    assert not torch.equal(second, first)
    with torch.no_grad():
        policy.value_bias.add_(1.0)
    torch.testing.assert_close(value(), second + 1.0)


def test_within_using_the_matrices_are_those_given_to_it(env):
    """Until its end, also by an error, and without gradients; one within another holds while it lasts."""
    policy = Policy(env.config.world, PolicyConfig(hidden=8), torch.Generator().manual_seed(0))
    index = torch.arange(6).expand(4, 6)
    records = env.records.view(-1, env.layout.bytes)
    with torch.no_grad():
        first = policy(records, index).value
        weights = policy.weights()
        policy.value_bias.add_(1.0)
        with pytest.raises(KeyError), policy.using(weights):
            assert torch.equal(policy(records, index).value, first)
            with torch.enable_grad():
                learning = policy(records, index).value
                assert learning.requires_grad and not torch.equal(learning, first)
            with policy.using(policy.weights()._replace(action_heads_bias=weights.action_heads_bias + 2.0)):
                torch.testing.assert_close(policy(records, index).value, first + 2.0)
            assert torch.equal(policy(records, index).value, first)
            raise KeyError
        torch.testing.assert_close(policy(records, index).value, first + 1.0)
