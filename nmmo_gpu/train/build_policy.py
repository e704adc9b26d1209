"""Builds the policies of a run from the class of a network, and checks that it can be trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.module_policy import ModulePolicy
from nmmo_gpu.train.network_spec import NetworkSpec, Observations
from nmmo_gpu.train.output import policy_heads
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.policy_base import PolicyBase
from nmmo_gpu.train.training_backend import TrainingBackend
from nmmo_gpu.world.observation_layout import ObservationLayout

PROTOCOL = "see nmmo_gpu.train.network_spec"
SAMPLES = 2
"""Samples per population of the call that checks a network."""


def build_policy(
    network: type[nn.Module], config: TrainConfig, backend: TrainingBackend, device: torch.device
) -> PolicyBase:
    """Returns the policies of a run, with initial weights drawn from the run's seed.

    Args:
        network: ``Policy`` or a subclass of it; or any other class of ``torch.nn.Module`` that
            ``nmmo_gpu.train.network_spec`` describes.
        config: settings of the run.
        backend: implementations of the parts.
        device: where the weights are put.

    Raises ConfigError if the network cannot be used. The state of torch's generators does not change."""
    if isinstance(network, type) and issubclass(network, Policy):
        generator = torch.Generator(device="cpu").manual_seed(config.env.seed)
        stock = network(
            config.env.world, config.policy, generator, backend.encode_inputs, backend.hidden_layers,
            backend.window_embedding, backend.encode_features, backend.gather_sum,
        ).to(device)  # fmt: skip
        stock.prepare()
        return stock
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise _error(network, "is not a class of torch.nn.Module", "give the class, not an instance of it")
    world = config.env.world
    heads = policy_heads(world, config.policy.targeting)
    spec = NetworkSpec(ObservationLayout(world), heads, world, config.policy)
    if network.forward is nn.Module.forward:
        raise _error(network, "has no forward", "define forward(self, obs)")
    _check_call(network, "__init__", network, "spec")
    with _seeded(config.env.seed):
        made = network(spec)
        _check_state_size(made, config)
        policy = ModulePolicy(made, spec, backend)
        _check_call(network, "forward", made.forward, "obs", *(["state"] if policy.recurrent else []))
        if any(is_lazy(p) for p in made.parameters()):
            _call(policy, torch.device("cpu"))
    _check_weights(made, spec)
    policy.to(device)
    if device.type == "meta":
        _check_outputs(policy, _call(policy, device), spec)
    else:
        _check_function(policy, spec, device)
    return policy


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Context in which torch's CPU generator starts with the seed, and the default dtype and device are those
    of a new process."""
    before, dtype = torch.get_rng_state(), torch.get_default_dtype()
    torch.default_generator.manual_seed(seed)
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_rng_state(before)


def _check_state_size(network: nn.Module, config: TrainConfig) -> None:
    """Checks the optional attribute ``state_size``."""
    size = getattr(network, "state_size", 0)
    if not isinstance(size, int) or size < 0:
        raise _error(type(network), f"has state_size = {size!r}", "use an integer, 0 for no recurrent state")
    if config.policy.recurrent and not size:
        raise _error(
            type(network), "has no recurrent state, but recurrent = True",
            "give it a state_size, or leave recurrent out: the network decides",
        )  # fmt: skip


def _check_call(network: type[nn.Module], name: str, function: Any, *arguments: str) -> None:
    """Raises ConfigError unless a function accepts these arguments by position."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        accepted = f"{name}(self, {', '.join(arguments)})"
        raise _error(
            network, f"has a {name} that does not accept {accepted} ({error})", "change it"
        ) from None


def _check_weights(network: nn.Module, spec: NetworkSpec) -> None:
    """Checks parameters and buffers on the CPU, so that training and checkpoints can use them."""
    kind = type(network)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not trained:
        raise _error(kind, "has no parameters to train", "assign its layers to attributes of self")
    for name, parameter in trained.items():
        if parameter.dtype != torch.float32:
            raise _error(
                kind, f"has the parameter {name} of {parameter.dtype}",
                'make it float32; with precision = "bf16", forward runs under autocast',
            )  # fmt: skip
        if getattr(network, "per_population", False) and parameter.shape[:1] != (spec.populations,):
            raise _error(
                kind, f"has per_population = True, but the parameter {name} has the shape "
                f"{tuple(parameter.shape)}",
                f"make {spec.populations}, the number of populations, its first dimension",
            )  # fmt: skip
    seen: dict[int, str] = {}
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise _error(kind, f"has the extra state {name}", "keep it in a buffer, for checkpoints")
        if not tensor.numel():
            continue
        other = seen.setdefault(tensor.untyped_storage().data_ptr(), name)
        if other != name:
            raise _error(
                kind, f"has {other} and {name} in the same memory, which a checkpoint cannot hold",
                "register one of them, and use it twice in forward",
            )  # fmt: skip
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise _error(
                kind, f"has NaN or infinite numbers in {name}, which a checkpoint cannot hold",
                "initialize it; register constants with persistent=False",
            )  # fmt: skip


def _call(policy: ModulePolicy, device: torch.device) -> Any:
    """Calls the network on the observations of empty slots."""
    populations, layout, slots = policy.world_config.populations, policy.layout, policy.world_config.slots
    records = layout.allocate(1, device=device).expand(slots, -1)
    first = torch.arange(populations, device=device, dtype=torch.int64) * policy.world_config.population_size
    rows = first[:, None].repeat(1, SAMPLES)
    state = policy.initial_state(rows.numel(), device)
    state = None if state is None else state.view(*rows.shape, -1)
    with torch.no_grad():
        try:
            return policy.call(policy.observations(records, rows, Observations), state)
        except Exception as error:
            error.add_note(
                f"This happened in the first call of {type(policy.network).__qualname__}.forward, which "
                f"checks it on the observations of empty slots: [{populations}, {SAMPLES}] zeros."
            )
            if device.type == "meta":
                error.add_note("A dry run has tensors without values, on which forward must not depend.")
            raise


def _check_function(policy: ModulePolicy, spec: NetworkSpec, device: torch.device) -> None:
    """Checks the outputs for empty slots, and that computing them changes nothing."""
    kind = type(policy.network)

    def draws() -> list[Tensor]:
        states = [torch.get_rng_state()]
        return states + [torch.cuda.get_rng_state(device)] if device.type == "cuda" else states

    def buffers() -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in policy.network.named_buffers()}

    random, before = draws(), buffers()
    outputs = _call(policy, device)
    if not all(map(torch.equal, random, draws())):
        torch.set_rng_state(random[0])
        if device.type == "cuda":
            torch.cuda.set_rng_state(random[1], device)
        raise _error(
            kind, "draws random numbers in forward, so a run would not be a function of its seed",
            "remove dropout: dropout=0.0 in layers of torch.nn",
        )  # fmt: skip
    for name, tensor in buffers().items():
        if name not in before or not torch.equal(tensor, before[name]):
            raise _error(
                kind, f"changes its buffer {name} in forward, so the order of calls would matter",
                "do without, for example with LayerNorm in place of BatchNorm",
            )  # fmt: skip
    _check_outputs(policy, outputs, spec)
    for name, tensor in zip(("logits", "value", "state"), outputs, strict=False):
        if not bool(tensor.isfinite().all()):
            raise _error(
                kind, f"returns {name} that are NaN or infinite for an empty slot, whose observation is zero",
                "return finite numbers, for example from a softmax over no entity",
            )  # fmt: skip


def _check_outputs(policy: ModulePolicy, outputs: Any, spec: NetworkSpec) -> None:
    """Checks the shapes and dtypes of what ``forward`` returns."""
    kind, leading = type(policy.network), (spec.populations, SAMPLES)
    names = ("logits", "value", "state") if policy.recurrent else ("logits", "value")
    wanted = f"return ({', '.join(names)})"
    if not isinstance(outputs, tuple):
        raise _error(kind, f"returns a {type(outputs).__name__} from forward", wanted)
    if len(outputs) != len(names):
        extra = "; a recurrent network has a state_size" if len(outputs) == 3 else ""
        raise _error(kind, f"returns {len(outputs)} values from forward", wanted + extra)
    heads = ", ".join(f"{name} {size}" for name, size in spec.heads.items())
    shapes = {
        "logits": ((*leading, spec.choices), f"[P, B, choices]: {heads}"),
        "value": (leading, "[P, B]"),
        "state": ((*leading, policy.state_size), "[P, B, state_size]"),
    }
    for name, tensor in zip(names, outputs, strict=True):
        shape, meaning = shapes[name]
        if not isinstance(tensor, Tensor):
            raise _error(kind, f"returns a {type(tensor).__name__} as {name}", "return a tensor")
        if tuple(tensor.shape) != shape:
            raise _error(
                kind, f"returns {name} of shape {tuple(tensor.shape)}", f"the shape is {shape}, {meaning}"
            )
        if not tensor.is_floating_point():
            raise _error(kind, f"returns {name} of {tensor.dtype}", "return floating-point numbers")


def _error(network: Any, fault: str, remedy: str) -> ConfigError:
    name = network.__qualname__ if isinstance(network, type) else repr(network)
    return ConfigError(f"network = {name} {fault}; {remedy} ({PROTOCOL}).")
