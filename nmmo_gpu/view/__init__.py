"""The viewer: a page in the browser that shows a world, live or recorded. Its source is in ``viewer/``."""
