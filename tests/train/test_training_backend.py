"""Which backend runs the parts of training, and when captured functions are replayed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.helpers import KERNEL_DEVICE
from train.small import CPU, FULL, small

from nmmo_gpu.config import preset
from nmmo_gpu.train import features, gae, layers, metrics, window
from nmmo_gpu.train.cuda_graphs import GraphedCallable
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.training_backend import TrainingBackend, training_backend
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.random import draw


def test_plain_torch_is_the_default():
    """Its parts run anywhere, and it has no function that chooses for all slots, so batches have living
    agents only."""
    plain = training_backend(resolve("torch", CPU))
    assert plain == TrainingBackend() and not plain.static_shapes
    assert (plain.draw, plain.advantages, plain.count) == (draw, gae.advantages, metrics.count)
    assert plain.hidden_layers is layers.hidden_layers and plain.encode_inputs is None
    assert plain.choose is plain.evaluate is None
    assert plain.window_embedding is window.window_embedding
    assert plain.encode_features is features.encode_features


TRAIN_AND_PLAY = """
import sys
from pathlib import Path
import numpy
import torch
from train.small import FULL, small
from nmmo_gpu.env import Env
from nmmo_gpu.train import checkpoint, play
from nmmo_gpu.train.evaluate import as_v1_ran, evaluate, policy_actor
from nmmo_gpu.train.run import resume, train
from nmmo_gpu.train.trained_policy import load_policy
from nmmo_gpu.train.value_map import value_map

backend, folder = sys.argv[1:]
for number, settings in enumerate(({}, {"targeting": "learned", **FULL}, {"recurrent": True, **FULL})):
    run = Path(folder) / str(number)
    config = small(run, backend=backend, births=-1, record=(0,), iterations=1, **settings)
    train(config)
    assert train(*resume(str(run), iterations=2)).agent_steps > 0
    stored = checkpoint.load(run, torch.device("cpu"))
    env = Env(config.env)
    env.reset()
    for greedy in (False, True):
        env.step(load_policy(run, greedy=greedy)(env))
    evaluate(as_v1_ran(config.env, realms=1), policy_actor(stored), max_ticks=4)
    env, act = play.continue_realm(stored, 0, torch.device("cpu"))
    env.step(act(env))
    assert numpy.isfinite(value_map(stored, env.world.base[0].numpy(), None, 0)).any()
print("\\nimported:", *(name for name in sys.modules if name.startswith(("numba", "nmmo_gpu.cpu"))))
"""


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_the_torch_backend_imports_no_compiled_loop(backend, tmp_path):
    """Even where numba is installed, runs of chaos and of the full game, recurrent or not, import neither
    numba nor its loops: to train, resume, record, play and evaluate, or for value maps. Where it may be
    used, it is."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[1], *sys.path)))
    }
    command = [sys.executable, "-c", TRAIN_AND_PLAY, backend, str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    imported = run.stdout.splitlines()[-1].removeprefix("imported:").split()
    if backend == "torch":
        assert imported == []
    else:
        pytest.importorskip("numba")
        assert {"numba", "nmmo_gpu.cpu", "nmmo_gpu.cpu.train"} <= set(imported)


@pytest.mark.parametrize("settings", [{}, FULL], ids=["chaos", "full"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_the_network_calls_the_parts_it_was_given(backend, settings):
    """It calls those of the training backend in the rollout and in the update."""
    if backend != "torch":
        pytest.importorskip(backend)
    run, called = Run(small(backend=backend, **settings)), set()
    policy, parts = run.sword.policy, run.sword.training_backend
    for name in ("window_embedding", "encode_features", "hidden_layers"):
        part = getattr(policy, name)
        assert part is getattr(parts, name)

        def logged(*given, name=name, part=part):
            called.add((name, torch.is_grad_enabled()))
            return part(*given)

        setattr(policy, name, logged)
    run.iterate()
    names = {"window_embedding", "hidden_layers"} | ({"encode_features"} if settings else set())
    assert called == {(name, gradient) for name in names for gradient in (False, True)}


def test_numba_draws_and_encodes_observations():
    """The rest of its learner is torch's."""
    pytest.importorskip("numba")
    backend = resolve("numba", CPU)
    compiled = training_backend(backend)
    loops = {part: getattr(compiled, part) for part in ("draw", "window_embedding", "encode_features")}
    assert compiled == dataclasses.replace(TrainingBackend(), **loops) and not compiled.static_shapes
    assert all(loop.__module__.startswith("nmmo_gpu.cpu.") for loop in loops.values())


def test_numba_samples_the_heads_of_the_full_game():
    """In chaos it keeps torch's functions, and so its bits."""
    pytest.importorskip("numba")
    backend = resolve("numba", CPU)
    compiled = training_backend(backend, preset("full"))
    assert compiled.sample.__module__ == compiled.evaluate.__module__ == "nmmo_gpu.cpu.train.sampling"
    assert dataclasses.replace(compiled, sample=None, evaluate=None) == training_backend(backend)
    assert Sword(small(backend="numba", **FULL), CPU).training_backend == compiled
    assert Sword(small(backend="numba"), CPU).training_backend == training_backend(backend)
    assert training_backend(resolve("torch", CPU), preset("full")) == TrainingBackend()


def test_kernels_replace_every_part():
    """Where Triton runs the world it runs the learner's parts too, and no size is read from the device."""
    pytest.importorskip("triton")
    kernels = training_backend(resolve("triton", KERNEL_DEVICE))
    assert kernels.static_shapes
    for field in dataclasses.fields(TrainingBackend):
        part = getattr(kernels, field.name)
        if field.name == "sample":  # used only without ``choose``
            assert part is None
            continue
        if field.name in ("window_embedding", "encode_features"):  # used only without ``encode_inputs``
            assert part is getattr(TrainingBackend(), field.name)
            continue
        assert part.__module__.startswith("nmmo_gpu.kernels."), field.name
    sword = Sword(small(backend="triton", device=KERNEL_DEVICE.type), KERNEL_DEVICE)
    assert sword.training_backend == kernels
    assert sword.policy.encode_inputs is kernels.encode_inputs
    assert sword.policy.hidden_layers is kernels.hidden_layers


@pytest.mark.parametrize("allowed", [True, False])
def test_on_a_cpu_every_call_runs_the_function(allowed):
    """Whether or not it could be captured on a GPU, each call returns a new result."""
    calls = []

    def function():
        calls.append(len(calls))
        return {"calls": torch.tensor(len(calls))}

    replayed = GraphedCallable(function, CPU, allowed)
    results = [replayed() for _ in range(5)]
    assert calls == [0, 1, 2, 3, 4] and replayed.graph is None
    assert [int(result["calls"]) for result in results] == [1, 2, 3, 4, 5]


class FakeCuda:
    """A fake of the parts of ``torch.cuda`` that capture and replay; it logs its calls."""

    def __init__(self, done):
        self.done = done

    def graph(self, graph, pool, capture_error_mode):
        # The thread that writes recordings may call CUDA during a capture.
        assert capture_error_mode == "thread_local"
        return LoggedContext(self.done, f"capture in {pool} begins", "capture ends")

    def device(self, device):
        return LoggedContext(self.done)

    def CUDAGraph(self):
        return Graph(self.done)


class Graph:
    """A graph that logs its replays."""

    def __init__(self, done):
        self.done = done

    def replay(self):
        self.done.append("replay")


class LoggedContext:
    """A context that logs its entry and exit."""

    def __init__(self, done, before=None, after=None):
        self.done, self.names = done, (before, after)

    def __enter__(self):
        self.done += [name for name in self.names[:1] if name]

    def __exit__(self, *_):
        self.done += [name for name in self.names[1:] if name]


def test_two_calls_a_capture_and_replays(monkeypatch):
    """As on a GPU, the third call captures and then replays, because capturing runs nothing. All later calls
    replay and return what the capture returned. A function that shares a warm pool is called only once
    before."""
    done, calls = [], []
    card = FakeCuda(done)
    for name in ("graph", "device", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, getattr(card, name))
    monkeypatch.setattr(
        GraphedCallable, "_on_side_stream", lambda self: (done.append("aside"), self.function())[1]
    )

    def function():
        done.append("call")
        calls.append(object())
        return calls[-1]

    replayed = GraphedCallable(function, torch.device("cuda"), allowed=True)
    results = [replayed() for _ in range(5)]
    assert done == ["aside", "call"] * 2 + ["capture in None begins", "call", "capture ends"] + ["replay"] * 3
    assert results == [calls[0], calls[1], calls[2], calls[2], calls[2]]
    done.clear()
    warm = GraphedCallable(function, torch.device("cuda"), allowed=True, memory="a pool", warm=True)
    for _ in range(3):
        warm()
    assert done == ["aside", "call", "capture in a pool begins", "call", "capture ends"] + ["replay"] * 2
    done.clear()
    refused = GraphedCallable(function, torch.device("cuda"), allowed=False)
    for _ in range(4):
        refused()
    assert done == ["call"] * 4
