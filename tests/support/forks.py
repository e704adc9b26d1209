"""Ending of forked processes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def end_with(work: Callable[..., None], *arguments: str) -> None:
    """Runs the work, then ends this process with the exit status of an interpreter, without running the exit
    handlers inherited from its parent."""
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
