"""What agents choose, in the world's terms."""

from __future__ import annotations

import torch
from torch import Tensor


def decode(actions: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(move, style, target slot or -1 for nobody), each [R, A] int64.

    Args:
        actions: [R, A, 3] of any integer dtype: move, style, and target as a row of the entity table
            (counted from 1; 0 for nobody).
        seen: [R, A, nearest] int32: slot of each row; -1 for none.
    """
    move, style, row = actions.to(torch.int64).unbind(-1)
    slot = seen.gather(-1, (row - 1).clamp_(min=0)[..., None]).squeeze(-1)
    return move, style, torch.where(row > 0, slot.long(), -1)
