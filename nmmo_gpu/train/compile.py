"""Ahead-of-time compilation of kernels: ``nmmo-gpu compile``.

A dry run on meta tensors lists the kernel launches of a configuration without a GPU, and each distinct launch
is compiled in one of several processes. The results are stored in Triton's cache (``TRITON_CACHE_DIR``),
where a run with the same version of Triton finds them.
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
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config.bounds import Bounds, check_fields
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.living import column_choices
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
"""``name -> (backend, architecture, threads per warp)``. Other CUDA architectures are named
``sm_<capability>``."""

ACTION_TYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)
"""Dtypes of actions that ``Env.step`` accepts."""


@dataclass(frozen=True)
class CompileConfig:
    """Compiles the kernels of a training run for a GPU."""

    train: TrainConfig = dataclasses.field(default_factory=lambda: train_preset("chaos"))
    """The training run; its environment and its benchmarks use no other kernels."""
    target: str | None = None
    """sm_80, sm_90, sm_100, another sm_<capability> or gfx942; by default the GPU of this machine."""
    processes: Annotated[int, Bounds(ge=1)] | None = None
    """Number of processes that compile in parallel; by default the number of CPUs."""

    def __post_init__(self) -> None:
        check_fields(self)


class TensorForm(NamedTuple):
    """The properties of a tensor on which the compiled code depends."""

    dtype: torch.dtype
    aligned: bool
    """Whether its data is aligned to 16 bytes."""


class Form(NamedTuple):
    """The properties of a launch on which the compiled code depends."""

    module: str
    kernel: str
    arguments: tuple[Any, ...]
    """The arguments, with a ``TensorForm`` for each tensor, and for each integer a representative that
    compiles to the same code; also inside tuples."""
    constants: tuple[tuple[str, Any], ...]
    warps: int


def compile_ahead(
    config: CompileConfig, report: Callable[[int, int], None], sword: type[Sword] = Sword
) -> int:
    """Compiles every kernel of a run that is not in Triton's cache yet; returns the number of kernels.

    Args:
        config: what to compile.
        report: called after each kernel with (number of finished kernels, number of kernels).
        sword: the class of the run's Sword. Its network must run on torch's meta device.

    Raises ConfigError if the target is unknown, if no target is given and torch sees no GPU, under Triton's
    interpreter, if the config cannot be trained with, and if a kernel does not compile."""
    config.train.check_training()
    target = resolve_target(config.target)
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise ConfigError("kernels are interpreted, not compiled, under TRITON_INTERPRET=1; unset it.")
    processes = config.processes or os.cpu_count() or 1
    forms = forms_of(config.train, sword, target[1])
    # Forked processes would inherit the locks that torch's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(forms)), context, _use_target, (target,)) as pool:
        for done, failure in enumerate(pool.map(_compile, forms), 1):
            if failure is not None:
                raise ConfigError(failure)
            report(done, len(forms))
    return len(forms)


def resolve_target(name: str | None) -> tuple[str, int | str, int]:
    """Returns (backend, architecture, threads per warp) of a named target, by default of this machine's GPU.

    Raises ConfigError if the target is unknown, or not given and torch sees no GPU."""
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


def forms_of(
    config: TrainConfig, sword_class: type[Sword] = Sword, architecture: int | str = 90
) -> list[Form]:
    """Returns every distinct launch of a training run, of its environment with actions of any accepted dtype,
    and of its benchmark, whose slots are kept full.

    Args:
        config: settings of the run.
        sword_class: the class of its Sword.
        architecture: CUDA capability or name of the architecture to compile for.
    """
    # Imported here, because Triton is optional.
    tiles = importlib.import_module("nmmo_gpu.kernels.train.tiles")
    target = tiles.nearest_target(architecture)
    found: dict[Form, None] = {}

    def note(launch: Any) -> None:
        launch = tiles.for_target(launch, target)
        arguments = tuple(map(_representative, launch.arguments))
        kernel = launch.kernel.fn
        constants = tuple(sorted(launch.constants.items()))
        found[Form(kernel.__module__, kernel.__name__, arguments, constants, launch.warps)] = None

    env = dataclasses.replace(config.env, device="meta")
    # Fewer minibatches of the same size, because the others repeat the same launches.
    ppo = dataclasses.replace(config.ppo, epochs=1)
    while ppo.horizon % 2 == 0 and ppo.minibatches % 2 == 0 and ppo.minibatches > 2:
        ppo = dataclasses.replace(ppo, horizon=ppo.horizon // 2, minibatches=ppo.minibatches // 2)
    for births in {env.world.births, -1}:
        world_config = dataclasses.replace(env.world, births=births)
        config = dataclasses.replace(config, env=dataclasses.replace(env, world=world_config), ppo=ppo)
        with dry_run(config.env, note) as (_, world):
            sword = sword_class(config, META)
            god, pantheon = God(config, sword, world), Pantheon(config, sword)
            shape = (config.env.realms, config.env.world.slots)
            nothing = torch.zeros(shape, dtype=torch.int64, device=META)
            step(world, god.env.backend, nothing, nothing, nothing - 1)  # as Env.reset does
            for dtype in ACTION_TYPES:
                god.env.step(torch.zeros(*shape, len(god.env.action_heads), dtype=dtype, device=META))
            rollout = god.collect()
            *fewer, _ = column_choices(rollout.alive.shape[1] // world_config.populations)
            for god.columns in {_representative(columns): columns for columns in fewer}.values():
                god.collect()
            pantheon.learn(rollout, 0.0)
            if not config.policy.recurrent:
                for columns in update_sizes(
                    rollout.alive.numel() // world_config.populations, ppo.minibatches
                ):
                    update(sword.policy, pantheon.optimizer, rollout, ppo, sword.training_backend, columns)
    return list(found)


def _representative(argument: Any) -> Any:
    """Returns the representation of an argument in a ``Form``."""
    if isinstance(argument, Tensor):
        return TensorForm(argument.dtype, argument.data_ptr() % 16 == 0)
    if isinstance(argument, tuple):
        return type(argument)(*map(_representative, argument))
    if isinstance(argument, int) and argument != 1:
        wide = 0 if -(1 << 31) <= argument < 1 << 31 else 1 << 32
        return wide + (16 if argument % 16 == 0 else 3)
    return argument


class _Driver:
    """Replaces Triton's GPU driver, so that kernels can be compiled on a machine without the GPU."""

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
    """Compiles a kernel into Triton's cache; returns an error message, or None on success."""
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
    except Exception as error:  # the compiler can raise any exception
        lines = str(error).splitlines()
        return f"{form.kernel} does not compile: {type(error).__name__}: {lines[-1] if lines else ''}"
    _make_launcher(compiled)
    return None


def _without_data(argument: Any) -> Any:
    """Returns an argument without data for which Triton compiles the same code as for those that the ``Form``
    describes."""
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
    """Builds the kernel's launcher if this version of Triton compiles one in C for each kernel (before 3.9)
    and the driver's library can be linked."""
    with contextlib.suppress(ImportError, AssertionError, OSError, RuntimeError, subprocess.SubprocessError):
        nvidia = importlib.import_module("triton.backends.nvidia.driver")
        if hasattr(nvidia, "make_launcher") and compiled is not None:
            nvidia.CudaLauncher(compiled.src, compiled.metadata)
