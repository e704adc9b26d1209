"""Processes that are forks of one that has imported what they need."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def end_with(work: Callable[..., None], *arguments: str) -> None:
    """Ends this process after the work, with the status with which an interpreter would end, and without what
    its parent has to tidy up."""
    status = 1
    try:
        work(*arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
