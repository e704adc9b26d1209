"""Fixtures of the command line's tests."""

from __future__ import annotations

import pytest

from nmmo_gpu.world import tick


@pytest.fixture
def broken_rule(monkeypatch):
    """Makes a tick leave an agent's food negative, in the 9th tick of every world."""
    step = tick.step

    def broken(world, *rest, **more):
        result = step(world, *rest, **more)
        if int(world.tick) == 9:
            world.food[-1, 2] = -4
        return result

    monkeypatch.setattr(tick, "step", broken)
