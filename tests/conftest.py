"""Fixtures of all tests."""

from __future__ import annotations

import os

import hypothesis
import pytest
import torch

# Kernels run on the GPU if there is one, else under Triton's interpreter, which must be said before Triton
# is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from nmmo_gpu.world.rules import Rules, resolve

# One thread: tests are spread over processes, and their worlds are too small to share.
torch.set_num_threads(1)

hypothesis.settings.register_profile("nmmo", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("nmmo")


@pytest.fixture(params=["torch", "numba", "triton"])
def rules(request: pytest.FixtureRequest) -> Rules:
    """The phases, once by torch and once by each of its twins, on the CPU."""
    if request.param != "torch":
        pytest.importorskip(request.param)
    if request.param == "triton" and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("compiled kernels do not run on the CPU; tests/kernels holds them to the rules")
    return resolve(request.param, torch.device("cpu"))
