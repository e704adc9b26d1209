"""Fixtures for comparing backends with the rules in torch."""

from __future__ import annotations

import pytest
from support.parity import BACKENDS, EXTENDED, SETTINGS, Case, Twin, crossed, cut
from support.poison import poisoned_workspaces


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills new workspaces without a fill value with garbage."""
    poisoned_workspaces(monkeypatch)


@pytest.fixture(params=BACKENDS)
def twin(request: pytest.FixtureRequest) -> Twin:
    """Returns each backend in turn."""
    return Twin(request.param)


@pytest.fixture(params=crossed(SETTINGS))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Returns each backend in each setting of law and chaos. Tests with other settings parametrize this
    fixture indirectly."""
    backend, setting = request.param
    twin = Twin(backend)
    if not twin.compiled:
        cut(monkeypatch, setting)
    return Case(twin, setting)


@pytest.fixture(params=crossed(SETTINGS, EXTENDED))
def any_case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """Like ``case``, with the settings of the full game as well."""
    backend, setting = request.param
    twin = Twin(backend)
    if not twin.compiled:
        cut(monkeypatch, setting)
    return Case(twin, setting)
