"""Counts what a device would do: operations that launch work, and the bytes that they move.

Runs on torch's "meta" device, so that a training on a GPU can be counted without one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.memory_estimate import dry_run
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.memory import META

FREE = frozenset(
    (
        "view", "_unsafe_view", "select", "slice", "unsqueeze", "squeeze", "expand", "transpose", "permute",
        "detach", "alias", "t", "as_strided", "unbind", "split", "split_with_sizes", "diagonal", "unfold",
        "view_as", "lift_fresh", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided",
        "tensor_split", "_reshape_alias", "is_same_size", "_record_function_enter_new",
        "_record_function_exit",
    )
)  # fmt: skip
"""Operations of torch that make a view or allocate memory, and launch nothing."""
FILLS = (
    "zero_",
    "fill_",
    "zeros",
    "ones",
    "full",
    "arange",
    "zeros_like",
    "new_zeros",
    "full_like",
    "ones_like",
)
"""Operations that only write."""
LOOK_UPS = ("index_select", "index", "gather", "embedding")
"""Operations that read only as many entries as they write."""
PRODUCTS = ("bmm", "baddbmm", "baddbmm_", "mm", "addmm")
"""Matrix products of torch. What is added to them is not an operand of the product."""
PRODUCT_KERNELS = {"_layer": ("a", "b", "out"), "_layer_backward": ("a", "b", "slope")}
"""Kernels that contain a matrix product, and the names of its operands and result."""
LEARNER = "nmmo_gpu.kernels.train."
"""Start of the names of the modules with kernels of the learner."""
BY_ROW = ("records", "choices")
"""Parameters of kernels of which one row is read for each entry of ``index``."""


class Row(NamedTuple):
    """What operations of one name did."""

    operations: int
    """Number of operations that launch work."""
    bytes: int
    """Bytes read and written, each tensor of an operation counted once."""
    product_bytes: int
    """Of these, bytes of the operands and results of matrix products."""


class OperationCount(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations of torch in this context, and launches of kernels that are passed to ``launched``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.product_bytes: Counter[str] = Counter()
        self.environment: set[str] = set()
        """Names of the kernels that are not of the learner."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts it."""
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.split("::")[1]
        if name not in FREE:
            self.counts[name] += 1
            size = _bytes_of(name, args, kwargs, result)
            self.bytes[name] += size
            if name in PRODUCTS:
                self.product_bytes[name] += sum(map(_size, (*args[-2:], result)))
        return result

    def launched(self, launch: Any) -> None:
        """Counts a ``nmmo_gpu.kernels.launch.Launch``."""
        if launch.programs == 0:
            return
        name = launch.kernel.__name__
        if not launch.kernel.fn.__module__.startswith(LEARNER):
            self.environment.add(name)
        sizes = _sizes_of(launch)
        self.counts[name] += 1
        self.bytes[name] += sum(sizes.values())
        self.product_bytes[name] += sum(sizes.get(one, 0) for one in PRODUCT_KERNELS.get(name, ()))

    def adam(self, parameters: list[Tensor]) -> None:
        """Counts a step of fused Adam, which adds 1 to its step counts, reads parameter, gradient and both
        moments, and writes all but the gradient."""
        self.counts += Counter(("_foreach_add_", "_fused_adam_"))
        self.bytes["_foreach_add_"] += 8 * len(parameters)
        self.bytes["_fused_adam_"] += 7 * sum(map(_size, parameters))

    def learner_bytes(self) -> int:
        """Returns the bytes moved by all operations but the kernels of the environment, without operands and
        results of matrix products."""
        rows = self.rows().items()
        return sum(row.bytes - row.product_bytes for name, row in rows if name not in self.environment)

    def rows(self) -> dict[str, Row]:
        """Returns ``name -> what it did``, in descending order of the number of operations."""
        return {
            name: Row(count, self.bytes[name], self.product_bytes[name])
            for name, count in self.counts.most_common()
        }


def _size(tensor: Tensor) -> int:
    """Returns the bytes of a tensor; expanded dimensions count once."""
    entries = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        entries *= size if stride else 1
    return entries


def _sizes_of(launch: Any) -> dict[str, int]:
    """Returns the bytes of the tensors of a kernel's parameters, by name; each tensor counts once."""
    given = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    index = given.get("index")
    seen: set[tuple[int, int]] = set()
    sizes = {}
    first = PRODUCT_KERNELS.get(launch.kernel.__name__, ())
    for parameter in (*first, *(name for name in given if name not in first)):
        argument, sizes[parameter] = given[parameter], 0
        for tensor in tree_iter(argument):
            if not isinstance(tensor, Tensor):
                continue
            place = (tensor.untyped_storage()._cdata, int(tensor.storage_offset()))
            if place in seen:
                continue
            seen.add(place)
            size = _size(tensor)
            if isinstance(index, Tensor) and parameter in BY_ROW:
                size = min(size, index.numel() * tensor.shape[-1] * tensor.element_size())
            sizes[parameter] += size
    header = launch.constants.get("header")
    if header is not None:  # of the inputs' columns, a kernel writes a part
        sizes["out"] = sizes["out"] // header.stride * (header.columns + header.tail)
    return sizes


def _bytes_of(name: str, args: Any, kwargs: Any, result: Any) -> int:
    """Returns the bytes that an operation of torch reads and writes."""
    inputs = [_size(t) for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)]
    outputs = sum(_size(t) for t in tree_iter(result) if isinstance(t, Tensor))
    if name in LOOK_UPS:
        return 2 * outputs + sum(inputs[1:])
    if name in FILLS:
        return outputs
    if name == "copy_":
        return sum(inputs[:2])
    if name == "baddbmm":  # the first operand is copied to the result, which the product then reads
        return sum(inputs) + 3 * outputs
    return sum(inputs) + outputs


def count_iteration(config: TrainConfig, sword: type[Sword] = Sword) -> dict[str, OperationCount]:
    """Returns what a rollout and an update of a run on a GPU do: ``{"rollout": ..., "update": ...}``.

    Args:
        config: settings of the run. Its optimizer is fused Adam.
        sword: the class of its Sword, which must run on the meta device.

    Raises ConfigError if Triton is not installed."""
    env = dataclasses.replace(config.env, device="meta")
    config = dataclasses.replace(config, env=env)
    counting: list[OperationCount] = []

    def launched(launch: Any) -> None:
        if counting:
            counting[-1].launched(launch)

    def counted(work: Callable[[], Any]) -> OperationCount:
        count = OperationCount()
        with count:
            counting.append(count)
            work()
        counting.clear()
        return count

    with dry_run(env, launched) as (_, world):
        made = sword(config, META)
        god, pantheon = God(config, made, world), Pantheon(config, made)
        rollout = god.collect()
        # Fused Adam does not run on the meta device.
        parameters = [p for group in pantheon.optimizer.param_groups for p in group["params"]]
        pantheon.optimizer.__dict__["step"] = lambda: counting[-1].adam(parameters)
        return {
            "rollout": counted(god.collect), "update": counted(lambda: pantheon.learn(rollout, 0.0))
        }  # fmt: skip
