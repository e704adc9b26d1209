"""torch's modes during training and inference of policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def default_modes() -> Iterator[None]:
    """Context, or decorator, in which gradients are recorded, and inference mode and autocast are off.

    A caller may be in any mode. Training needs gradients, weights and buffers that are made in inference mode
    could not be trained later, and autocast would change the bits of a policy, whose precision is
    ``PolicyConfig.precision``."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield
