"""Makes Triton's interpreter faster in tests, with the same operations on the same numbers.

An interpreted kernel spends most of its time not in numpy, but in patching Triton's language at each call
from one function to another, in overflow checks whose result is not used, and in building type objects. This
module caches Python objects that depend only on their arguments; it computes no number differently. A part of
the interpreter that differs from Triton 3.6 to 3.9 is left unpatched."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def install() -> None:
    """Patches the interpreter of this process once. Skips the parts whose code is not as expected."""
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
        _describe_tensors_once, _know_the_same, _find_common_types_once, _make_constants_once,
    ):  # fmt: skip
        try:
            step(interpreter=interpreter, tl=tl, core=core, semantic=TritonSemantic)
        except _UnknownCodeError:
            continue


class _UnknownCodeError(Exception):
    """The code of the interpreter is not as expected."""


def _known(owner: Any, name: str, *parameters: str) -> Callable[..., Any]:
    """Returns a function of the interpreter. Raises _UnknownCodeError if it does not have these
    parameters."""
    function = vars(owner).get(name)
    if not inspect.isfunction(function) or tuple(inspect.signature(function).parameters) != parameters:
        raise _UnknownCodeError(name)
    return function


def _patch_once_a_launch(interpreter: Any, tl: Any, core: Any, **_: Any) -> None:
    """Patches the language once per launch.

    A launch replaces the language's functions by the interpreter's and restores them at its end. Each nested
    call of a function patches again, without restoring; here nested calls do nothing. The replacements are
    determined once, for both modules through which a kernel may refer to the language."""
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
            last = {(id(o), n): (o, n, vars(o)[n]) for o, n, _ in changes}
            values.extend((o, n, _direct(value, core, interpreter)) for o, n, value in last.values())
            first.restore()
        scope = Scope()
        scope._changes = list(changes)
        for owner, name, value in values:
            setattr(owner, name, value)
        inside = True
        return scope

    interpreter._patch_lang = patch_once


def _direct(value: Any, core: Any, interpreter: Any) -> Any:
    """Returns a replacement for a builtin that calls the builtin directly. The interpreter's replacement
    calls a wrapper that first checks that it runs in a kernel."""
    member = (getattr(value, "__kwdefaults__", None) or {}).get("member")
    wrapper = core.builtin(lambda _semantic=None: None)
    if getattr(member, "__code__", None) is not wrapper.__code__:
        return value
    builtin, semantic = member.__wrapped__, interpreter.interpreter_semantic

    def call(*arguments: Any, **options: Any) -> Any:
        options["_semantic"] = semantic
        return builtin(*arguments, **options)

    return call


def _skip_unseen_checks(interpreter: Any, semantic: Any, **_: Any) -> None:
    """Skips overflow checks unless the option ``debug`` is set. The interpreter repeats each integer
    addition, subtraction and multiplication in 64 bits and compares the result with the type's bounds, for an
    assertion that is not made without that option."""
    check = _known(semantic, "binary_op_sanitize_overflow_impl", "self", "lhs", "rhs", "binary_op")
    unless_debug = "if not self.builder.options.debug:\n            return\n"
    if unless_debug not in inspect.getsource(semantic.device_assert):
        raise _UnknownCodeError("device_assert")

    def seen(self: Any, lhs: Any, rhs: Any, binary_op: Any) -> None:
        if self.builder.options.debug:
            check(self, lhs, rhs, binary_op)

    semantic.binary_op_sanitize_overflow_impl = seen


def _one_table_of_types(interpreter: Any, core: Any, **_: Any) -> None:
    """Caches the numpy type of each Triton type. The interpreter builds a lookup table for each operation."""
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
    """Caches the attributes of block types, which depend only on element type and shape."""
    block, several = core.block_type, core.tuple
    describe = _known(block, "__init__", "self", "element_ty", "shape")
    made: dict[Any, dict[str, Any]] = {}

    def described(self: Any, element_ty: Any, shape: Any) -> None:
        sides = shape.values if isinstance(shape, several) else shape
        key = (_key(element_ty, core), *[getattr(side, "value", side) for side in sides])
        if key not in made:
            describe(self, element_ty, shape)
            made[key] = vars(self) | {"of_tensors": {}}
        vars(self).update(made[key])

    block.__init__ = described


def _describe_tensors_once(core: Any, **_: Any) -> None:
    """Caches the attributes of tensors other than their data, which depend only on the type. A block type
    stores them itself."""
    tensor, block = core.tensor, core.block_type
    describe = _known(tensor, "__init__", "self", "handle", "type")
    made: dict[Any, dict[str, Any]] = {}

    def described(self: Any, handle: Any, type: Any) -> None:
        kept = vars(type).get("of_tensors")
        if kept:
            vars(self).update(kept)
            self.handle = handle
            return
        element, shape = (type.element_ty, type.shape) if isinstance(type, block) else (type, ())
        key = (_key(element, core), *shape)
        if key not in made:
            describe(self, handle, type)
            made[key] = {name: value for name, value in vars(self).items() if name != "handle"}
        vars(self).update(made[key])
        self.handle = handle
        if kept is not None:
            kept.update(made[key])

    tensor.__init__ = described


def _key(dtype: Any, core: Any) -> Any:
    """Returns a key that identifies a scalar type."""
    if isinstance(dtype, core.pointer_type):
        return (_key(dtype.element_ty, core), dtype.address_space, dtype.const)
    return dtype.name


def _know_the_same(core: Any, semantic: Any, **_: Any) -> None:
    """Compares types by identity first, and skips broadcasting between blocks of the same shape."""
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


NUMBERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)} | {"int1", "fp32", "fp64"}


def _find_common_types_once(core: Any, semantic: Any, **_: Any) -> None:
    """Caches the computation type for each pair of operand types; does not cast tensors of the same type."""
    tensor = core.tensor
    promote = _known(
        semantic, "computation_type_impl", "self", "a_ty", "a_is_scalar", "b_ty", "b_is_scalar", "div_or_mod"
    )
    check = _known(
        semantic, "binary_op_type_checking_impl", "self", "lhs", "rhs", "allow_lhs_ptr", "allow_rhs_ptr",
        "arithmetic_check", "div_or_mod",
    )  # fmt: skip
    made: dict[Any, Any] = {}

    def promoted(
        self: Any, a_ty: Any, a_is_scalar: bool, b_ty: Any, b_is_scalar: bool, div_or_mod: bool
    ) -> Any:
        key = (_key(a_ty, core), a_is_scalar, _key(b_ty, core), b_is_scalar, div_or_mod)
        if key not in made:
            made[key] = promote(self, a_ty, a_is_scalar, b_ty, b_is_scalar, div_or_mod)
        return made[key]

    def checked(self: Any, lhs: Any, rhs: Any, *options: Any, **more: Any) -> Any:
        if isinstance(lhs, tensor) and isinstance(rhs, tensor):
            name = lhs.dtype.name
            if name == rhs.dtype.name and name in NUMBERS:
                return self.broadcast_impl_value(lhs, rhs)
        return check(self, lhs, rhs, *options, **more)

    semantic.computation_type_impl = promoted
    semantic.binary_op_type_checking_impl = checked


def _make_constants_once(core: Any, semantic: Any, **_: Any) -> None:
    """Caches the tensors of integer constants in a kernel, and their broadcasts to the shape of the other
    operand. The cached tensors are read-only."""
    block = core.block_type
    constant = _known(semantic, "scalar_constant", "self", "value", "dtype")
    broadcast = _known(semantic, "broadcast_impl_value", "self", "lhs", "rhs")
    scalars: dict[Any, Any] = {}
    known: set[int] = set()
    blocks: dict[Any, Any] = {}

    def scalar_constant(self: Any, value: Any, dtype: Any) -> Any:
        if type(value) not in (int, bool) or isinstance(dtype, core.pointer_type):
            return constant(self, value, dtype)
        key = (value, dtype.name)
        if key not in scalars:
            scalars[key] = made = constant(self, value, dtype)
            made.handle.data.flags.writeable = False
            known.add(id(made))
        return scalars[key]

    def broadcast_constants(self: Any, lhs: Any, rhs: Any) -> Any:
        left, right = lhs.type, rhs.type
        if isinstance(left, block) and not isinstance(right, block) and id(rhs) in known:
            return lhs, as_block(self, rhs, lhs, left.shape.values)
        if isinstance(right, block) and not isinstance(left, block) and id(lhs) in known:
            return as_block(self, lhs, rhs, right.shape.values), rhs
        return broadcast(self, lhs, rhs)

    def as_block(self: Any, scalar: Any, other: Any, shape: Any) -> Any:
        key = (id(scalar), *[getattr(side, "value", side) for side in shape])
        if key not in blocks:
            blocks[key] = made = broadcast(self, scalar, other)[0]
            made.handle.data.flags.writeable = False
        return blocks[key]

    semantic.scalar_constant = scalar_constant
    semantic.broadcast_impl_value = broadcast_constants


def _compare_identities_first(kind: Any) -> None:
    equal = _known(kind, "__eq__", "self", "other")

    def same(self: Any, other: Any) -> bool:
        return self is other or equal(self, other)

    kind.__eq__ = same
