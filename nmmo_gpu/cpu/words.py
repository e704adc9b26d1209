"""Operations on eight bytes at a time: unaligned loads and stores, and arithmetic on the bytes of a word."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nmmo_gpu.cpu.compile import compiled

ONES = np.uint64(0x0101010101010101)
LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
SEVEN = np.uint64(7)


def _pointer(context, builder, array_type, array, index):
    """Returns the address of byte ``index`` of a uint8 array, as a pointer to 64 bits."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.IntType(64).as_pointer())


@intrinsic
def load(typing_context, array, index):
    """``load(bytes [n] uint8, index) -> uint64``: bytes[index : index + 8], little-endian."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=1)

    return types.uint64(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, word):
    """``store(bytes [n] uint8, index, word)``: the reverse of ``load``."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), generate


@intrinsic
def trailing_zeros(typing_context, word):
    """``trailing_zeros(uint64) -> int64``: index of the lowest set bit; the word must not be 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


@compiled(inline="always")
def nonzero_bytes(word):
    """Returns a word with 1 in each byte that is not zero in ``word``, and 0 in the others."""
    return ((((word & LOW_BITS) + LOW_BITS) | word) >> SEVEN) & ONES
