"""Fixtures of all tests, and what must be set before the package is imported."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# numba looks only at a function's own file to see whether its cache is stale. Constants and inlined
# functions from other files would go unnoticed, so compiled code is kept by the digest of all sources.
_sources = hashlib.sha256()
for _file in sorted((Path(__file__).parents[1] / "nmmo_gpu").rglob("*.py")):
    if _file.parent.name in ("cpu", "world") or _file.name == "config.py":
        _sources.update(_file.read_bytes())
os.environ.setdefault(
    "NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"nmmo-tests-numba-{_sources.hexdigest()[:16]}")
)

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from nmmo_gpu.world.rules import Rules, resolve  # noqa: E402

hypothesis.settings.register_profile("nmmo", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("nmmo")


@pytest.fixture(params=["torch", "numba"])
def rules(request: pytest.FixtureRequest) -> Rules:
    """The phases, once by torch and once by numba."""
    if request.param == "numba":
        pytest.importorskip("numba")
    return resolve(request.param, torch.device("cpu"))
