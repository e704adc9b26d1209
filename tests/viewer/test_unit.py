"""The viewer's types and unit tests, which npm runs."""

from __future__ import annotations


def test_the_viewer_is_well_typed(npm):
    """TypeScript reports no errors in sources and tests."""
    npm("run", "check")


def test_the_viewers_unit_tests_pass(npm):
    """Runs all tests of viewer/tests that need no browser."""
    npm("run", "test")
