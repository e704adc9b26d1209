"""Compiling kernels ahead of a run: ``nmmo-gpu compile``.

The launches that a configuration makes are noted without a GPU, from a run on tensors that have shapes and no
data, and each distinct one is compiled in one of several processes. What they compile lies in Triton's cache,
where a run with the same version of Triton finds it; ``TRITON_CACHE_DIR`` says where that is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.memory_estimate import dry_run
from nmmo_gpu.train.ppo import update, update_sizes
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.memory import META
from nmmo_gpu.world.tick import step

TARGETS: dict[str, tuple[str, int | str, int]] = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
"""``name -> (backend, architecture, threads of a warp)``; GPUs of a CUDA architecture that is not listed here
are given as ``sm_<capability>``."""

ACTION_TYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)
"""Types in which actions may be handed to ``Env.step``."""


@dataclass(frozen=True)
class CompileConfig:
    """What to compile, for which GPU."""

    train: TrainConfig = dataclasses.field(default_factory=lambda: train_preset("chaos"))
    """The training run; its environment, and benchmarks of it, have no other kernels."""
    target: str | None = None
    """sm_80, sm_90, sm_100, another sm_<capability> or gfx942; by default the GPU of this machine."""
    processes: int | None = None
    """How many compile at a time; by default as many as there are processors."""


class TensorForm(NamedTuple):
    """A tensor, as far as it decides what is compiled."""

    dtype: torch.dtype
    aligned: bool
    """To 16 bytes."""


class Form(NamedTuple):
    """One launch, as far as it decides what is compiled."""

    module: str
    kernel: str
    arguments: tuple[Any, ...]
    """Instead of a tensor its ``TensorForm``, of an integer one that compiles alike; also in tuples."""
    constants: tuple[tuple[str, Any], ...]
    warps: int


def compile_ahead(config: CompileConfig, report: Callable[[int, int], None]) -> int:
    """Compiles every kernel of a run that Triton's cache does not hold yet; returns how many there are.

    Args:
        report: called after each with (how many are done, how many there are).

    Raises ConfigError for an unknown target, where none is given and torch sees no GPU, under Triton's
    interpreter, and for a kernel that does not compile."""
    target = resolve_target(config.target)
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise ConfigError("kernels are interpreted, not compiled, under TRITON_INTERPRET=1; unset it.")
    processes = (os.cpu_count() or 1) if config.processes is None else config.processes
    if processes < 1:
        raise ConfigError(f"processes = {processes} compile nothing; choose 1 or more.")
    forms = forms_of(config.train)
    # Forked processes would inherit what torch's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(forms)), context, _use_target, (target,)) as pool:
        for done, failure in enumerate(pool.map(_compile, forms), 1):
            if failure is not None:
                raise ConfigError(failure)
            report(done, len(forms))
    return len(forms)


def resolve_target(name: str | None) -> tuple[str, int | str, int]:
    """(backend, architecture, threads of a warp) of a name; by default of the GPU at hand."""
    if name is None:
        if not torch.cuda.is_available():
            raise ConfigError(f"torch sees no GPU to compile for; name one: --target {' | '.join(TARGETS)}.")
        from triton.runtime.driver import driver

        found = driver.active.get_current_target()
        return found.backend, found.arch, found.warp_size
    if name in TARGETS:
        return TARGETS[name]
    if name.startswith("sm_") and name[3:].isdecimal():
        return "cuda", int(name[3:]), 32
    raise ConfigError(f"target = {name!r} is unknown; choose one of {', '.join(TARGETS)}.")


def forms_of(config: TrainConfig) -> list[Form]:
    """Every distinct launch of a training run, of its environment with actions of any type, and of its
    benchmark, whose slots are kept full."""
    found: dict[Form, None] = {}

    def note(launch: Any) -> None:
        arguments = tuple(map(_representative, launch.arguments))
        kernel = launch.kernel.fn
        constants = tuple(sorted(launch.constants.items()))
        found[Form(kernel.__module__, kernel.__name__, arguments, constants, launch.warps)] = None

    env = dataclasses.replace(config.env, device="meta")
    # Minibatches of the same size, and no more of them than can differ.
    ppo = dataclasses.replace(config.ppo, epochs=1)
    while ppo.horizon % 2 == 0 and ppo.minibatches % 2 == 0 and ppo.minibatches > 2:
        ppo = dataclasses.replace(ppo, horizon=ppo.horizon // 2, minibatches=ppo.minibatches // 2)
    for births in {env.world.births, -1}:
        world_config = dataclasses.replace(env.world, births=births)
        config = dataclasses.replace(config, env=dataclasses.replace(env, world=world_config), ppo=ppo)
        with dry_run(config.env, note) as (_, world):
            sword = Sword(config, META)
            god, pantheon = God(config, sword, world), Pantheon(config, sword)
            shape = (config.env.realms, config.env.world.slots)
            nothing = torch.zeros(shape, dtype=torch.int64, device=META)
            step(world, god.env.backend, nothing, nothing, nothing - 1)  # as Env.reset does
            for dtype in ACTION_TYPES:
                god.env.step(torch.zeros(*shape, len(god.env.action_heads), dtype=dtype, device=META))
            rollout = god.collect()
            pantheon.learn(rollout, 0.0)
            if not config.policy.recurrent:
                for columns in update_sizes(
                    rollout.alive.numel() // world_config.populations, ppo.minibatches
                ):
                    update(sword.policy, pantheon.optimizer, rollout, ppo, sword.training_backend, columns)
    return list(found)


def _representative(argument: Any) -> Any:
    """What stands for an argument in a ``Form``."""
    if isinstance(argument, Tensor):
        return TensorForm(argument.dtype, argument.data_ptr() % 16 == 0)
    if isinstance(argument, tuple):
        return type(argument)(*map(_representative, argument))
    if isinstance(argument, int) and argument != 1:
        wide = 0 if -(1 << 31) <= argument < 1 << 31 else 1 << 32
        return wide + (16 if argument % 16 == 0 else 3)
    return argument


class _Driver:
    """Stands in for Triton's driver of a GPU, which need not be there to compile for it."""

    def __init__(self, target: tuple[str, int | str, int]) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget(*target)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def is_active(self) -> bool:
        return True


def _use_target(target: tuple[str, int | str, int]) -> None:
    """Prepares a process for ``_compile``."""
    from triton.runtime.driver import driver

    torch.set_num_threads(1)
    driver.set_active(_Driver(target))


def _compile(form: Form) -> str | None:
    """Puts a kernel into Triton's cache; returns what went wrong."""
    from nmmo_gpu.kernels.launch import FUSED_ROUNDING

    kernel = getattr(importlib.import_module(form.module), form.kernel)
    try:
        compiled = kernel.warmup(
            *map(_without_data, form.arguments),
            grid=(1,),
            num_warps=form.warps,
            enable_fp_fusion=FUSED_ROUNDING,
            **dict(form.constants),
        )
    except Exception as error:  # whatever the compiler raises is what went wrong
        said = str(error).splitlines()
        return f"{form.kernel} does not compile: {type(error).__name__}: {said[-1] if said else ''}"
    _make_launcher(compiled)
    return None


def _without_data(argument: Any) -> Any:
    """An argument with which Triton compiles what it would for those that a ``Form`` describes."""
    from triton.runtime.jit import MockTensor

    class Unaligned(MockTensor):  # type: ignore[misc]
        @staticmethod
        def data_ptr() -> int:
            return 1

    if isinstance(argument, TensorForm):
        return (MockTensor if argument.aligned else Unaligned)(argument.dtype)
    if isinstance(argument, tuple):
        return type(argument)(*map(_without_data, argument))
    return argument


def _make_launcher(compiled: Any) -> None:
    """Builds what calls the kernel, where Triton has the C compiler make it for each (before Triton 3.9) and
    the driver's library is there to be linked."""
    with contextlib.suppress(ImportError, AssertionError, OSError, RuntimeError, subprocess.SubprocessError):
        nvidia = importlib.import_module("triton.backends.nvidia.driver")
        if hasattr(nvidia, "make_launcher") and compiled is not None:
            nvidia.CudaLauncher(compiled.src, compiled.metadata)
