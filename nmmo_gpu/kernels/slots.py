"""Which slots a program handles."""

import triton
import triton.language as tl


@triton.jit
def my_slots(slots, chunks, BLOCK: tl.constexpr):
    """(realm: int64 scalar, slot: [BLOCK] int32, agent: [BLOCK] int64 index into [R * A], inside: [BLOCK]
    bool) of this program; see ``nmmo_gpu.kernels.launch.Slots``."""
    program = tl.program_id(0)
    realm = (program // chunks).to(tl.int64)
    slot = (program % chunks) * BLOCK + tl.arange(0, BLOCK)
    return realm, slot, realm * slots + slot, slot < slots
