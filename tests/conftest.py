"""Fixtures of all tests."""

from __future__ import annotations

import hypothesis
import pytest
import torch

from nmmo_gpu.world.rules import Rules, resolve

# One thread: tests are spread over processes, and their worlds are too small to share.
torch.set_num_threads(1)

hypothesis.settings.register_profile("nmmo", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("nmmo")


@pytest.fixture(params=["torch", "numba"])
def rules(request: pytest.FixtureRequest) -> Rules:
    """The phases, once by torch and once by numba."""
    if request.param == "numba":
        pytest.importorskip("numba")
    return resolve(request.param, torch.device("cpu"))
