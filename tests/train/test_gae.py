"""Generalized advantage estimation, compared with hand-computed numbers and a double sum."""

from __future__ import annotations

import pytest
import torch

from nmmo_gpu.train.gae import advantages

GARBAGE = 1e9


def test_example_by_hand():
    """gamma and lambda are 1/2, so gamma * lambda = 1/4. All numbers are exact in float32.

    Slot 0 lives throughout: the deltas are 1/2, 3/2, 5/2 and 4 (the last uses the value 2), and each
    advantage is its delta plus a quarter of the next advantage. Slot 1 dies in the second tick with reward 0:
    its delta is 0 - 1 = -1 with nothing after it; before it, 1 + 1/2 * 1 - 2 = -1/2 plus a quarter of -1. In
    the third tick the slot is empty. In the fourth a newborn lives: 1 + 1/2 * 4 - 2 = 1. Slot 2 dies in the
    last tick, so the last value, which is that of the slot's next agent, does not count."""
    reward = torch.tensor([[1, 1, 0], [2, 0, 0], [3, GARBAGE, 1], [4, 1, 0]])
    value = torch.tensor([[1, 2, 0], [1, 1, 0], [1, -GARBAGE, 2], [1, 2, 1]])
    died = torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]).bool()
    last = torch.tensor([2.0, 4.0, GARBAGE])
    found = advantages(reward, value.float(), died, last, 0.5, 0.5)
    assert found[:, 0].tolist() == [1.09375, 2.375, 3.5, 4.0]
    assert found[[0, 1, 3], 1].tolist() == [-0.75, -1.0, 1.0]
    # Backwards: -1; 1 + 1/2 - 2 - 1/4 = -3/4; 0 + 1 - 0 - 3/16; 0 + 0 - 0 + 13/64.
    assert found[:, 2].tolist() == [13 / 64, 13 / 16, -0.75, -1.0]


def random_rollout(ticks, agents, seed):
    random = torch.Generator().manual_seed(seed)
    reward = torch.randn(ticks, agents, generator=random)
    value = torch.randn(ticks, agents, generator=random)
    died = torch.rand(ticks, agents, generator=random) < 0.25
    return reward, value, died, torch.randn(agents, generator=random)


def double_sum(reward, value, died, last, gamma, lam):
    """Equation 16: the sum over k of (gamma * lambda)^k times delta, up to the agent's death."""
    ticks, agents = reward.shape
    following = torch.cat((value[1:], last[None]))
    out = torch.zeros(ticks, agents, dtype=torch.float64)
    for n in range(agents):
        for t in range(ticks):
            for k in range(ticks - t):
                ends = bool(died[t + k, n])
                ahead = 0.0 if ends else float(following[t + k, n])
                delta = float(reward[t + k, n]) + gamma * ahead - float(value[t + k, n])
                out[t, n] += (gamma * lam) ** k * delta
                if ends:
                    break
    return out


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (0.5, 1.0), (0.9, 0.0), (0.0, 0.95), (0.999, 0.3)])
@pytest.mark.parametrize(("ticks", "agents"), [(1, 1), (5, 3), (17, 7)])
def test_it_equals_the_double_sum(gamma, lam, ticks, agents):
    """For several discounts, and down to a rollout of one tick."""
    for seed in range(3):
        rollout = random_rollout(ticks, agents, seed)
        found = advantages(*rollout, gamma, lam)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), double_sum(*rollout, gamma, lam), rtol=1e-4, atol=1e-5)


def test_with_gamma_0_the_advantage_is_reward_minus_value():
    """Later ticks do not count."""
    reward, value, died, last = random_rollout(9, 5, 1)
    assert torch.equal(advantages(reward, value, died, last, 0.0, 0.95), reward - value)


def test_with_lambda_0_it_is_the_temporal_difference():
    reward, value, died, last = random_rollout(9, 5, 2)
    ahead = torch.cat((value[1:], last[None])).masked_fill(died, 0.0)
    torch.testing.assert_close(advantages(reward, value, died, last, 0.9, 0.0), reward + 0.9 * ahead - value)


def test_with_lambda_1_it_is_the_discounted_return():
    """Advantage + value is the discounted sum of rewards until death or until the last value."""
    reward, value, died, last = random_rollout(9, 5, 3)
    found = advantages(reward, value, died, last, 0.9, 1.0) + value
    earned = last
    for t in reversed(range(9)):
        earned = reward[t] + 0.9 * earned.masked_fill(died[t], 0.0)
        torch.testing.assert_close(found[t], earned, rtol=1e-4, atol=1e-5)


def test_nothing_flows_from_the_slots_next_agent():
    """Values after a death change, and no bit before it does."""
    reward, value, died, last = random_rollout(11, 6, 4)
    died[7] = True
    before = advantages(reward, value, died, last, 0.99, 0.95)
    others = random_rollout(11, 6, 5)
    for tensor, other in zip((reward, value, died), others, strict=False):
        tensor[8:] = other[8:]
    after = advantages(reward, value, died, others[3] * 100, 0.99, 0.95)
    assert torch.equal(before[:8], after[:8])
    assert not torch.equal(before[8:], after[8:])
