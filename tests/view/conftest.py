"""Fixtures of the viewer's tests."""

from view.serving import built_page

__all__ = ["built_page"]
