"""Backends: what each one replaces, where it runs, and the errors where it cannot."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.helpers import KERNEL_DEVICE

from nmmo_gpu.env import make
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.backend import Backend, resolve

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PHASES = ("combat", "movement", "spawning", "regrowth", "upkeep", "explore", "burial", "observe", "draw")


@pytest.mark.parametrize(
    ("backend", "device", "package", "decoder", "stretches", "capturable"),
    [
        ("torch", CPU, "nmmo_gpu.world", "nmmo_gpu.world", 0, False),
        ("numba", CPU, "nmmo_gpu.cpu", "nmmo_gpu.world", 21, False),
        ("triton", KERNEL_DEVICE, "nmmo_gpu.kernels", "nmmo_gpu.kernels", 2, True),
    ],
)
def test_resolve_gives_all_phases_of_one_backend(backend, device, package, decoder, stretches, capturable):
    """No phase is another backend's, and a stretch replaces the backend's own functions."""
    if backend != "torch":
        pytest.importorskip(backend)
    phases = resolve(backend, device)
    assert phases.name == backend and phases.capturable == capturable
    assert all(getattr(phases, phase).__module__.startswith(f"{package}.") for phase in PHASES)
    assert phases.decode.__module__.startswith(f"{decoder}.")
    assert phases.terrain.__module__ == f"nmmo_gpu.{'cpu' if backend == 'numba' else 'world'}.terrain"
    assert len(phases.stretches) == stretches
    for stretch in phases.stretches:
        functions = dict(zip(stretch.names, stretch.functions, strict=True))
        assert all(getattr(phases, name) is function for name, function in functions.items())


def test_the_defaults_are_the_torch_functions():
    assert resolve("torch", CPU) == Backend() == resolve("torch", GPU)


@pytest.fixture
def without(monkeypatch):
    """Returns a function that makes packages appear not installed."""
    plain = importlib.util.find_spec

    def hide(*packages):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in packages else plain(name, *rest)
        )

    return hide


def test_auto_takes_the_fastest_installed_backend(without, monkeypatch):
    """numba on a CPU and Triton on a GPU, or torch where they are not installed."""
    for missing, on_cpu, on_gpu in (
        ((), "numba", "triton"), (("triton",), "numba", "torch"), (("numba",), "torch", "triton"),
        (("triton", "numba"), "torch", "torch"),
    ):  # fmt: skip
        without(*missing)
        for device, expected in ((CPU, on_cpu), (GPU, on_gpu)):
            if expected != "torch":
                pytest.importorskip(expected)
            assert resolve("auto", device).name == expected, (missing, device)


def test_missing_triton_is_an_error_with_the_remedy(without):
    """Also if the environment variable chooses it; the remedy differs on Windows and macOS, for which there
    is no Triton."""
    without("triton")
    text = r'backend = "triton" needs Triton, which is not installed; .*pip install triton.*backend = "auto"'
    for device in (CPU, GPU):
        with pytest.raises(ConfigError, match=text):
            resolve("triton", device)
    with pytest.raises(ConfigError, match=text):
        make("law", realms=1, device="cpu", backend="triton")


def test_triton_on_a_cpu_is_refused_with_the_remedy(monkeypatch):
    """Unless the kernels are interpreted, which is decided when they are imported."""
    launch = pytest.importorskip("nmmo_gpu.kernels.launch")
    text = r'backend = "triton" runs on a GPU.*choose backend = "auto", or.*set .*TRITON_INTERPRET=1'
    monkeypatch.setattr(launch, "INTERPRETED", False)
    with pytest.raises(ConfigError, match=text):
        resolve("triton", CPU)
    with pytest.raises(ConfigError, match=text):
        make("law", realms=1, device="cpu", backend="triton")
    assert resolve("triton", GPU).name == "triton"
    assert resolve("auto", CPU).name != "triton"
    monkeypatch.setattr(launch, "INTERPRETED", True)
    assert resolve("triton", CPU).name == "triton"


def test_numba_off_the_cpu_or_not_installed_is_refused(without):
    with pytest.raises(
        ConfigError, match=r"""numba" runs on a CPU, but device = 'cuda' is not a CPU; choose"""
    ):
        resolve("numba", GPU)
    without("numba")
    with pytest.raises(
        ConfigError, match=r'needs numba, which is not installed; run `pip install "nmmo-gpu\['
    ):
        resolve("numba", CPU)


WITHOUT_TRITON = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())

import nmmo_gpu.benchmarks.bench, nmmo_gpu.cli.main
from nmmo_gpu.env import make, random_actions
from nmmo_gpu.train.run import Run
from train.small import small

for backend in ("torch", "auto"):
    env = make("chaos", height=40, width=40, slots=8, realms=1, device="cpu", backend=backend)
    env.reset()
    env.step(random_actions(env))
    run = Run(small(backend=backend, iterations=1))
    run.iterate()
    assert run.iteration == 1 and env.backend.name in (backend, "numba", "torch")
try:
    import triton
except ImportError:
    print("done without", *(name for name in sys.modules if name.startswith(("triton", "nmmo_gpu.kernels"))))
"""


def test_without_triton_all_else_works():
    """The environment, training and the command line are imported and used on torch and on numba, if it is
    installed, without importing Triton or the kernels."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("TRITON_INTERPRET", None)
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRITON], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "done without"
