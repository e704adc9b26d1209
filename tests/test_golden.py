"""Worlds do not change: digests after 200 ticks, which only a change of rules may change.

After an intended change of rules, ``python tests/test_golden.py`` prints the new digests."""

from __future__ import annotations

import hashlib

import pytest
import torch

import nmmo_gpu
from nmmo_gpu.world.state import World

TICKS, REALMS = 200, 2

GOLDEN = {
    ("law", 0): "5078650a1d5085372488bb4f5f0bd441f4b5db15c59c015ecec30012b386f181",
    ("law", 1): "1e750b17a46afdc8f47cdd7588420a9a0ac88fa1d34c78bcc537c79e483416c0",
    ("law", -(2**63)): "64804c6657d204cc03cd533a0b606f9e89518e61e73ddce943cc7273fbbab456",
    ("chaos", 0): "dac5a47ca4634c1c0a8adc8f23869c840bebbffe3b3a55b30d38c2029e98e6d9",
    ("chaos", 1): "61eb561c5a2adc25b278ef5607d58a9bbdb69750f26cb10949bd9f19a156cea2",
    ("chaos", -(2**63)): "af9483e640fc219c32dc0c6b808172af215db714f0a2ddb07a686cd6f34964bc",
    ("full", 0): "c7e4ef1527e1535db760d61bd177197403cc57356c7af3cbf72e0f4a4998bf82",
    ("full", 1): "d4b8e35e9437c8561585a242453e79eb29b3f286175d433a1a3699883186d06e",
    ("full", -(2**63)): "d7d9d07ad4d1fe02a531a828733e0c5d2ad9edc43bc895c3340d893bfbb91bb0",
}


def digest(world: World) -> str:
    """Returns the SHA-256 of the state's tensors in the order of their declaration, whatever their names
    are."""
    sha = hashlib.sha256()
    for _, tensor in world.tensors():
        sha.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def played(preset: str, seed: int) -> World:
    """Plays two realms for 200 ticks of random actions."""
    env = nmmo_gpu.make(preset, realms=REALMS, seed=seed, device="cpu")
    env.reset()
    for _ in range(TICKS):
        env.step(nmmo_gpu.random_actions(env))
    return env.world


@pytest.mark.parametrize(("preset", "seed"), GOLDEN)
def test_the_world_has_not_changed(preset: str, seed: int) -> None:
    assert digest(played(preset, seed)) == GOLDEN[preset, seed]


if __name__ == "__main__":
    for name in ("law", "chaos", "full"):
        for number in (0, 1, -(2**63)):
            seed = "-(2**63)" if number < 0 else number
            print(f'    ("{name}", {seed}): "{digest(played(name, number))}",')
