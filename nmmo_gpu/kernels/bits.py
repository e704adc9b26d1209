"""Arithmetic on the bits and bytes of uint32 words."""

import triton
import triton.language as tl

LOW_BITS, HIGH_BITS = tl.constexpr(0x7F7F7F7F), tl.constexpr(0x80808080)


@triton.jit
def nonzero_bytes(words):
    """Returns 0x80 in each byte that is not zero in uint32 ``words``, and 0 in the others."""
    return (((words & LOW_BITS) + LOW_BITS) | words) & HIGH_BITS


@triton.jit
def high_bits(words):
    """Returns the highest bits of the four bytes of uint32 ``words``, as bits 0 to 3."""
    # The product moves bits 7, 15, 23 and 31 to 28, 29, 30 and 31; no other two bits meet.
    return (words * 0x204081) >> 28


@triton.jit
def count_bits(words):
    """Returns the number of bits set in uint32 ``words``. LLVM recognizes these operations, and emits one
    instruction."""
    pairs = words - ((words >> 1) & 0x55555555)
    quads = (pairs & 0x33333333) + ((pairs >> 2) & 0x33333333)
    return (((quads + (quads >> 4)) & 0x0F0F0F0F) * 0x01010101) >> 24


@triton.jit
def index_of_bit(words, rank):
    """Returns the index of the set bit of uint32 ``words`` that has ``rank`` (uint32) set bits below it,
    uint32; some index if there is none."""
    index = tl.zeros_like(words)
    for step in tl.static_range(5):
        half = 16 >> step
        below = count_bits(words & ((1 << half) - 1))
        above = rank >= below
        rank = tl.where(above, rank - below, rank)
        index = tl.where(above, index + half, index)
        words = tl.where(above, words >> half, words)
    return index


@triton.jit
def unaligned_words(words, first_byte, length, here, COUNT: tl.constexpr):
    """Returns a tuple of COUNT uint32 tensors: the bytes from ``first_byte`` on, little-endian.

    Only words that hold one of ``length`` bytes are read; other bytes of the result are arbitrary.

    Args:
        words: pointer to uint32.
        first_byte: int32.
        length: int32, number of bytes wanted.
        here: where to read; the result is 0 elsewhere.
    """
    place = first_byte >> 2
    skipped = first_byte & 3
    shift = (skipped * 8).to(tl.uint64)
    low = tl.load(words + place, mask=here, other=0)
    out = ()
    for k in tl.static_range(COUNT):
        high = tl.load(words + place + (k + 1), mask=here & (skipped + length > 4 * (k + 1)), other=0)
        both = (high.to(tl.uint64) << 32) | low.to(tl.uint64)
        out = out + ((both >> shift).to(tl.uint32),)  # type: ignore[assignment]
        low = high
    return out


@triton.jit
def first_bytes(count):
    """Returns a uint32 mask of the first ``count`` bytes of a word, 0 to 4 (all if above, none if below)."""
    whole = tl.full(count.shape, 0xFFFFFFFF, tl.uint32)
    some = whole >> (32 - 8 * tl.minimum(tl.maximum(count, 1), 4)).to(tl.uint32)
    return tl.where(count > 0, some, 0)


@triton.jit
def interleaved(parts, COUNT: tl.constexpr):
    """Joins a tuple of COUNT tensors (1, 2, 4 or 8) of equal shape; reshaped to [..., COUNT], the last index
    is that of the tuple."""
    tl.static_assert(COUNT == 1 or COUNT == 2 or COUNT == 4 or COUNT == 8)
    if COUNT == 1:
        return parts[0]
    elif COUNT == 2:
        return tl.join(parts[0], parts[1])
    elif COUNT == 4:
        return tl.join(tl.join(parts[0], parts[2]), tl.join(parts[1], parts[3]))
    else:
        even = tl.join(tl.join(parts[0], parts[4]), tl.join(parts[2], parts[6]))
        return tl.join(even, tl.join(tl.join(parts[1], parts[5]), tl.join(parts[3], parts[7])))
