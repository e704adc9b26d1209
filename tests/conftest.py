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

from support import fast_interpreter
from support.helpers import KERNEL_DEVICE, carried

from nmmo_gpu.world.backend import Backend, resolve

if os.environ.get("TRITON_INTERPRET") == "1":
    fast_interpreter.install()

# One thread: tests are spread over processes, and their worlds are too small to share.
torch.set_num_threads(1)

hypothesis.settings.register_profile("nmmo", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("nmmo")


@pytest.fixture(params=["torch", "numba"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """The phases, once by torch and once by numba."""
    return _of(request.param)


@pytest.fixture(params=["torch", "numba", "triton"])
def any_backend(request: pytest.FixtureRequest) -> Backend:
    """The phases by torch and by each of its twins, for worlds on the CPU.

    For tests that take a few ticks: without a GPU the kernels are interpreted, at some 0.1 s a tick and
    realm. Statistics and long runs have ``backend``; tests/kernels holds the kernels to the bits of those."""
    return _of(request.param)


def _of(backend: str) -> Backend:
    if backend != "torch":
        pytest.importorskip(backend)
    if backend == "triton":
        return carried(resolve(backend, KERNEL_DEVICE), KERNEL_DEVICE)
    return resolve(backend, torch.device("cpu"))
