"""Makes Triton's interpreter faster in tests, with the same operations on the same numbers.

Most of the time of an interpreted kernel does not go into numpy, but into patching Triton's language at each
call from one function to another, into overflow checks whose result is not used, and into building type
objects. This module caches Python objects that depend on nothing but their arguments; no number is computed
differently. Where the interpreter differs from that of Triton 3.6 to 3.9, it is left as it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def install() -> None:
    """Patches the interpreter of this process, once, as far as its code is known."""
    try:
        import triton.language as tl
        from triton.language import core
        from triton.language.semantic import TritonSemantic
        from triton.runtime import interpreter
    except ImportError:
        return
    if hasattr(interpreter, "_fast_interpreter"):
        return
    interpreter._fast_interpreter = True
    for step in (
        _patch_once_a_launch, _skip_unseen_checks, _one_table_of_types, _describe_blocks_once,
        _describe_tensors_once, _know_the_same,
    ):  # fmt: skip
        try:
            step(interpreter=interpreter, tl=tl, core=core, semantic=TritonSemantic)
        except _UnknownCodeError:
            continue


class _UnknownCodeError(Exception):
    """The interpreter is not as it is known here."""


def _known(owner: Any, name: str, *parameters: str) -> Callable[..., Any]:
    """A function of the interpreter, which must have these parameters."""
    function = vars(owner).get(name)
    if not inspect.isfunction(function) or tuple(inspect.signature(function).parameters) != parameters:
        raise _UnknownCodeError(name)
    return function


def _patch_once_a_launch(interpreter: Any, tl: Any, core: Any, **_: Any) -> None:
    """A launch puts the interpreter's functions in the place of the language's, and takes them out in the
    end. So does each call of a function by another, but for taking them out; those are done nothing for here.

    What is put where is found once, for both modules by which a kernel may know the language."""
    patch = _known(interpreter, "_patch_lang", "fn")
    scope_type = getattr(interpreter, "_LangPatchScope", None)
    if scope_type is None or not isinstance(getattr(scope_type(), "_changes", None), list):
        raise _UnknownCodeError("_LangPatchScope")
    everywhere = SimpleNamespace(__globals__={"tl": tl, "core": core})
    changes: list[tuple[Any, str, Any]] = []
    values: list[tuple[Any, str, Any]] = []
    inside = False

    class Scope(scope_type):  # type: ignore[misc, valid-type]
        def restore(self) -> None:
            nonlocal inside
            inside = False
            super().restore()

    nested = scope_type()

    def patch_once(fn: Any) -> Any:
        nonlocal inside
        if inside:
            return nested
        if not values:
            first = patch(everywhere)
            changes.extend(first._changes)
            values.extend({(id(o), n): (o, n, vars(o)[n]) for o, n, _ in changes}.values())
            first.restore()
        scope = Scope()
        scope._changes = list(changes)
        for owner, name, value in values:
            setattr(owner, name, value)
        inside = True
        return scope

    interpreter._patch_lang = patch_once


def _skip_unseen_checks(interpreter: Any, semantic: Any, **_: Any) -> None:
    """Each addition, subtraction and multiplication of integers is repeated in 64 bits and compared with the
    type's bounds, for an assertion which without the option ``debug`` is not made."""
    check = _known(semantic, "binary_op_sanitize_overflow_impl", "self", "lhs", "rhs", "binary_op")
    unless_debug = "if not self.builder.options.debug:\n            return\n"
    if unless_debug not in inspect.getsource(semantic.device_assert):
        raise _UnknownCodeError("device_assert")

    def seen(self: Any, lhs: Any, rhs: Any, binary_op: Any) -> None:
        if self.builder.options.debug:
            check(self, lhs, rhs, binary_op)

    semantic.binary_op_sanitize_overflow_impl = seen


def _one_table_of_types(interpreter: Any, core: Any, **_: Any) -> None:
    """numpy's type for each of Triton's is looked up in a table that is made for each operation."""
    find = _known(interpreter, "_get_np_dtype", "tt_dtype")
    pointer, block = core.pointer_type, core.block_type
    scalars: dict[str, Any] = {}

    def of_scalar(dtype: Any) -> Any:
        if dtype.name not in scalars:
            scalars[dtype.name] = find(dtype)
        return scalars[dtype.name]

    def found(tt_dtype: Any) -> Any:
        if isinstance(tt_dtype, block):
            tt_dtype = tt_dtype.element_ty
        return find(tt_dtype) if isinstance(tt_dtype, pointer) else of_scalar(tt_dtype)

    interpreter._get_np_dtype = found


def _describe_blocks_once(core: Any, **_: Any) -> None:
    """The type of a block, with its name, follows from the type of its elements and the shape."""
    block, several = core.block_type, core.tuple
    describe = _known(block, "__init__", "self", "element_ty", "shape")
    made: dict[Any, dict[str, Any]] = {}

    def described(self: Any, element_ty: Any, shape: Any) -> None:
        sides = shape.values if isinstance(shape, several) else shape
        key = (_key(element_ty, core), *[getattr(side, "value", side) for side in sides])
        if key not in made:
            describe(self, element_ty, shape)
            made[key] = dict(vars(self))
        vars(self).update(made[key])

    block.__init__ = described


def _describe_tensors_once(core: Any, **_: Any) -> None:
    """So do a tensor's attributes, but for the numbers in it, from its type."""
    tensor, block = core.tensor, core.block_type
    describe = _known(tensor, "__init__", "self", "handle", "type")
    made: dict[Any, dict[str, Any]] = {}

    def described(self: Any, handle: Any, type: Any) -> None:
        element, shape = (type.element_ty, type.shape) if isinstance(type, block) else (type, ())
        key = (_key(element, core), *shape)
        if key not in made:
            describe(self, handle, type)
            made[key] = {name: value for name, value in vars(self).items() if name != "handle"}
        vars(self).update(made[key])
        self.handle = handle

    tensor.__init__ = described


def _key(dtype: Any, core: Any) -> Any:
    """What tells a scalar type from all others."""
    if isinstance(dtype, core.pointer_type):
        return (_key(dtype.element_ty, core), dtype.address_space, dtype.const)
    return dtype.name


def _know_the_same(core: Any, semantic: Any, **_: Any) -> None:
    """What is the same object is equal, and blocks of the same shape are broadcast already."""
    block = core.block_type
    for kind in (core.dtype, core.pointer_type, core.block_type):
        _compare_identities_first(kind)
    broadcast = _known(semantic, "broadcast_impl_value", "self", "lhs", "rhs")

    def broadcast_others(self: Any, lhs: Any, rhs: Any) -> Any:
        left, right = lhs.type, rhs.type
        if left is right:
            return lhs, rhs
        if isinstance(left, block) and isinstance(right, block) and left.shape.values == right.shape.values:
            return lhs, rhs
        return broadcast(self, lhs, rhs)

    semantic.broadcast_impl_value = broadcast_others


def _compare_identities_first(kind: Any) -> None:
    equal = _known(kind, "__eq__", "self", "other")

    def same(self: Any, other: Any) -> bool:
        return self is other or equal(self, other)

    kind.__eq__ = same
