"""Kernels compiled ahead of time are those that runs launch, for the given GPU."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from train.small import FULL, small

from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.run import Run

pytest.importorskip("triton")
from nmmo_gpu.kernels.launch import Launch, diverted
from nmmo_gpu.train import compile as ahead
from nmmo_gpu.train.compile import CompileConfig, Form, compile_ahead, forms_of, resolve_target

KINDS = {
    "chaos": {"minibatches": 2},
    "recurrent": {"recurrent": True, "targeting": "learned", "births": -1},
    "several blocks, bf16": {"slots": 400, "populations": 4, "precision": "bf16", "spawn": "anywhere"},
    "the full game": {**FULL, "targeting": "learned"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_launches_of_a_run_are_compiled(kind):
    """The launches of a real run, of an environment that is reset and stepped, and of a benchmark with its
    slots kept full are among the forms."""
    config = small(device="cpu", backend="triton", check_actions=False, **KINDS[kind])
    forms = set(forms_of(config))
    launches: list[Launch] = []
    full = dataclasses.replace(config.env, world=dataclasses.replace(config.env.world, births=-1))
    with diverted(launches.append):
        Run(config).iterate()
        for settings in (config.env, full):
            env = Env(settings)
            env.reset()
            for dtype in (torch.uint8, torch.int64):
                env.step(
                    torch.zeros(*env.world.agents(env.world.alive).shape, len(env.action_heads), dtype=dtype)
                )
    launched = {form_of(launch) for launch in launches}
    assert len(launched) > 15 and launched <= forms, launched - forms
    # Later rollouts sort slots, unless these are kept full.
    assert ("_living_first" in {form.kernel for form in forms}) == (config.env.world.births != -1)


def form_of(launch: Launch) -> Form:
    """Returns the launch as ``forms_of`` describes it."""
    arguments = tuple(map(ahead._representative, launch.arguments))
    kernel = launch.kernel.fn
    constants = tuple(sorted(launch.constants.items()))
    return Form(kernel.__module__, kernel.__name__, arguments, constants, launch.warps)


def test_arguments_that_compile_alike_have_one_form():
    """Integers that compile alike are equal, and so are tensors of one dtype, except unaligned ones."""
    alike = ahead._representative
    assert alike(1) == 1 and alike(5) == alike(7) == alike(-3) and alike(32) == alike(0) == alike(-16)
    assert len({alike(1), alike(5), alike(32), alike(1 << 40), alike((1 << 40) + 1), alike(1 << 31)}) == 5
    assert alike((1 << 31) - 1) == alike(3)
    assert alike(2.5) == 2.5
    plane = torch.zeros(64, dtype=torch.int16, device="meta")
    assert alike(plane) == alike(plane[8:]) == (torch.int16, True) and alike(plane[3:]) == (
        torch.int16,
        False,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are not interpreted where there is a GPU")
def test_impossible_compilations_are_refused(monkeypatch):
    """No GPU and no target, an unknown target, zero processes, and the interpreter: each error says what to
    change."""
    config = CompileConfig(small(device="cpu"))
    report = pytest.fail
    with pytest.raises(ConfigError, match="interpreted.*unset it"):
        compile_ahead(dataclasses.replace(config, target="sm_90"), report)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(ConfigError, match="no GPU.*--target sm_80"):
        compile_ahead(config, report)
    for name in ("sm_", "sm90", "hopper", "gfx9"):
        with pytest.raises(ConfigError, match=f"target = '{name}' is unknown"):
            compile_ahead(dataclasses.replace(config, target=name), report)
    with pytest.raises(ConfigError, match="processes = 0"):
        compile_ahead(dataclasses.replace(config, target="sm_90", processes=0), report)
    assert resolve_target("sm_120") == ("cuda", 120, 32) and resolve_target("gfx942")[0] == "hip"


def test_a_kernel_that_does_not_compile_is_reported():
    """The result has its name and the end of the compiler's message, and the process raises nothing."""
    broken = Form("nmmo_gpu.kernels.train.gae", "_advantages", ((torch.float32, True),), (), 4)
    code = (
        "import torch\nfrom nmmo_gpu.train import compile as c\n"
        "c._use_target(c.TARGETS['sm_90'])\n"
        f"print(c._compile(c.Form({broken.module!r}, KERNEL, ((torch.float32, True),), (), 4)))"
    )
    from nmmo_gpu.kernels.train import gae

    (name,) = [name for name, value in vars(gae).items() if name.startswith("_") and hasattr(value, "warmup")]
    done = subprocess.run(
        [sys.executable, "-c", code.replace("KERNEL", repr(name))],
        capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "0"},
    )  # fmt: skip
    assert done.returncode == 0 and f"{name} does not compile: TypeError" in done.stdout, done.stderr[-2000:]
