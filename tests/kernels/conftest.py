"""Fixtures of the tests of kernels."""

from __future__ import annotations

import pytest
from support.poison import poisoned_memory


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills new memory, that of workspaces included, with NaN or garbage."""
    poisoned_memory(monkeypatch)
