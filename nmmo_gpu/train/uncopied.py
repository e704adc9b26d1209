"""Objects that cannot be copied or pickled."""

from __future__ import annotations

from typing import NoReturn

from nmmo_gpu.errors import UsageError


class Uncopied:
    """Base of objects that hold functions of themselves, for CUDA graphs: a copy would work on the tensors of
    its original."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Raises UsageError, from ``copy`` and ``pickle``."""
        raise UsageError(
            f"a {type(self).__name__} cannot be copied or pickled; save the run's checkpoint, and resume it "
            "in another folder or process."
        )
