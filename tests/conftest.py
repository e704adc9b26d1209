"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

# One thread: tests run in several processes, and their worlds are too small to share. The variable must be
# set before torch is imported, and in the environment for programs that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import pytest
import torch

# Kernels run on the GPU if there is one, else under Triton's interpreter, which must be chosen before Triton
# is imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from support import fast_interpreter, shared_compilation
from support.helpers import KERNEL_DEVICE, carried

from nmmo_gpu.world.backend import Backend, resolve

if os.environ.get("TRITON_INTERPRET") == "1":
    fast_interpreter.install()
shared_compilation.install()

torch.set_num_threads(1)

hypothesis.settings.register_profile("nmmo", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("nmmo")

HERE = Path(__file__).parent
SLOW = (
    "adapters/test_gymnasium.py", "adapters/test_pettingzoo.py", "adapters/test_systems.py",
    "adapters/test_torchrl.py", "benchmarks",
    "cli", "docs", "examples", "kernels/test_observation_full.py", "kernels/test_order.py",
    "kernels/test_sampling.py", "kernels/test_sampling_full.py", "parity/test_ticks_full.py",
    "replay/test_picture.py", "replay/test_reader.py", "scripts", "test_add_content.py",
    "test_build_backend.py", "test_compile_kernels.py", "test_docs.py", "test_fuzz.py", "test_scripted.py",
    "test_v1_statistics.py", "train/test_capture.py", "train/test_compile.py", "train/test_distributed.py",
    "train/test_kernels.py", "train/test_memory_estimate.py", "train/test_network_spec.py",
    "train/test_run.py", "train/test_run_full.py", "train/test_systems.py", "view/test_live.py",
    "viewer", "world/test_full_tick.py", "world/test_scale.py",
)  # fmt: skip
"""Files and folders of tests that start browsers or several processes, compile kernels, interpret many
kernels, or take many ticks."""
SLOW_TESTS = (
    "test_many_ticks_apart_stay_together", "test_any_order_book_matches_a_plain_auction",
    "test_busy_markets_match_a_plain_auction_in_every_tick",
    "test_births_match_a_plain_version",
    "test_invariants_hold_and_backends_agree_under_random_and_adversarial_play",
    "test_masks_of_any_systems_are_exact", "test_observations_in_play_are_in_the_space",
    "test_without_triton_all_else_works", "test_random_worlds", "test_a_bandit_is_learned",
    "test_recordings_agree_with_the_kernels", "test_a_class_of_a_script_is_named_by_its_module",
    "test_evaluating_a_stored_policy_is_reproducible", "test_training_records_what_it_plays",
    "test_invariants_hold_over_a_long_run_with_all_causes_of_death",
    "test_the_torch_backend_imports_no_compiled_loop",
)  # fmt: skip
"""Single slow tests in other files."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Returns the number of processes for ``--numprocesses auto``: one more than there are processors, since
    tests of browsers and of several processes wait for much of their time."""
    return 1 + (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what ``scripts/test.sh --quick`` leaves out: slow files and tests, and tests of the phases on the
    interpreted backend. Puts the browsers first, which take longest, so that no process ends long after the
    others."""
    items.sort(key=lambda item: item.path.name != "test_browser.py")
    slow = [HERE / name for name in SLOW]
    assert all(place.exists() for place in slow), "SLOW has a path that does not exist"
    slow_files = {path for path in {item.path for item in items} if any(map(path.is_relative_to, slow))}
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        backends = [parameters.get(name) for name in ("any_backend", "twin", "case", "any_case")]
        interpreted = any(part == "triton" or (part and part[0] == "triton") for part in backends)
        named = getattr(item, "originalname", None) in SLOW_TESTS
        if named or item.path in slow_files or interpreted:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=["torch", "numba"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Returns the phases of torch and of numba in turn."""
    return _of(request.param)


@pytest.fixture(params=["torch", "numba", "triton"])
def any_backend(request: pytest.FixtureRequest) -> Backend:
    """Returns the phases of torch, numba and triton in turn, for worlds on the CPU.

    For tests that take a few ticks: without a GPU the kernels are interpreted, which takes some 0.1 s per
    tick and realm. Statistics and long runs use ``backend``; tests/kernels compares the kernels' bits with
    those backends."""
    return _of(request.param)


def _of(backend: str) -> Backend:
    if backend != "torch":
        pytest.importorskip(backend)
    if backend == "triton":
        return carried(resolve(backend, KERNEL_DEVICE), KERNEL_DEVICE)
    return resolve(backend, torch.device("cpu"))
