"""The memory estimate of a training run compared with the run."""

from __future__ import annotations

import gc

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes
from train.small import CPU, small
from train.tape import run as launch_for_real

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train import ppo
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.rollout import Rollout
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.memory import META

pytest.importorskip("triton")
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.train.memory_estimate import Meter, training_parts

SIZE = {"realms": 1, "slots": 12, "populations": 2, "height": 32, "width": 33, "horizon": 3, "hidden": 16}


def parts_of(**settings):
    """Returns the estimated bytes by name."""
    return {part.name: part.bytes for part in training_parts(small(**(SIZE | settings)))}


def test_the_meter_counts_allocated_and_freed_bytes():
    """Views add nothing, other devices do not count, and current and peak memory are separate."""
    with Meter() as meter:
        kept = torch.zeros(100, dtype=torch.uint8, device=META)
        view = kept.view(10, 10)[3:]
        other = torch.zeros(1000)
        assert meter.now == meter.peak == 100
        passing = torch.zeros(50, dtype=torch.uint8, device=META) + 1
        assert meter.now == 150 and meter.peak == 200, "the sum's first operand is freed"
        del passing
        assert meter.now == 100

        def work():
            torch.zeros(70, dtype=torch.uint8, device=META)
            return torch.zeros(30, dtype=torch.uint8, device=META)

        result, stays, on_top = meter.rise(work)
        assert (result.numel(), stays, on_top) == (30, 30, 40)
    assert view.numel() == 70 and other.numel() == 1000


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are compiled, and do not run on the CPU")
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_real_run_takes_the_estimated_memory(recurrent, request):
    """The same parts are metered on the CPU with interpreted kernels and agree to the byte, except for Adam's
    step counters, which differ without data."""
    config = small(backend="triton", check_actions=False, recurrent=recurrent, **SIZE)
    # Garbage counts until it is collected, which depends on all Python code that runs in between.
    usual = gc.get_threshold()
    request.addfinalizer(lambda: gc.set_threshold(*usual))
    gc.collect()
    gc.set_threshold(200, 1, 1)
    estimate = parts_of(recurrent=recurrent)

    def run(launch):
        with _disable_current_modes():
            launch_for_real(launch)
        del launch
        gc.collect(1)  # the interpreter leaves the arguments in cycles

    with Meter(CPU) as meter, launching.diverted(run):
        sword, _, _ = meter.rise(lambda: Sword(config, CPU))
        god, _, _ = meter.rise(lambda: God(config, sword))
        pantheon, _, _ = meter.rise(lambda: Pantheon(config, sword))
        rollout, _, for_collecting = meter.rise(god.collect)
        _, _, for_learning = meter.rise(lambda: pantheon.learn(rollout, 0.0))
    assert estimate["temporary, while collecting a rollout (maximum)"] == pytest.approx(
        for_collecting, rel=0.02
    )
    assert estimate["temporary, while learning (maximum)"] == pytest.approx(for_learning, rel=0.05)


def test_rollout_and_weights():
    """The rollout's buffers agree to the byte. Weights and moments are three numbers per weight; the tables
    from which the matrices of both populations are made are about eight per weight of one."""
    config = small(**SIZE)
    estimate = parts_of()
    sword = Sword(config, CPU)
    rollout = Rollout.allocate(sword.policy.layout, 3, 1, 12, CPU)
    buffers = [tensor for tensor in vars(rollout).values() if isinstance(tensor, torch.Tensor)]
    assert estimate["rollout"] == sum(tensor.nbytes for tensor in buffers)
    weights = 4 * sum(parameter.numel() for parameter in sword.policy.parameters())
    assert (3 + 3) * weights <= estimate["weights and Adam's moments"] < (4.5 + 4.5) * weights


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_few_minibatches_need_the_memory_of_all(recurrent, monkeypatch):
    """The estimate equals that of a whole update, and takes two of its five minibatches."""
    settings = {"recurrent": recurrent, "realms": 3, "minibatches": 5}
    losses = []
    monkeypatch.setattr(ppo, "loss", lambda *of, real=ppo.loss: losses.append(1) or real(*of))
    brief = parts_of(**settings)
    assert len(losses) == 2
    monkeypatch.setattr("nmmo_gpu.train.memory_estimate._brief_pantheon", Pantheon)
    whole = parts_of(**settings)
    assert brief == pytest.approx(whole, abs=500), "tables are made once per process, and statistics are kept"


def test_the_named_remedies_lower_the_estimate():
    """They are fewer realms or slots, a shorter horizon and smaller minibatches."""
    usual = parts_of(realms=4, minibatches=2)
    total = sum(usual.values())
    for smaller in ({"realms": 2}, {"slots": 8}, {"horizon": 2}, {"hidden": 8}, {"minibatches": 8}):
        assert sum(parts_of(**{"realms": 4, "minibatches": 2, **smaller}).values()) < total, smaller


def test_a_million_agents_are_estimated_without_allocating():
    """The observations of preset million alone would take 0.6 GiB per tick."""
    parts = training_parts(train_preset("million"))
    assert sum(part.bytes for part in parts) > 20 << 30
    assert [part.name for part in parts].count("rollout") == 1


def test_meta_is_a_device_in_estimates_only():
    training_parts(small(**SIZE))
    with pytest.raises(ConfigError, match="'meta' is not supported"):
        resolve_device("meta")


def test_without_triton_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setattr("nmmo_gpu.train.memory_estimate.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Triton, which is not installed"):
        training_parts(small(**SIZE))
