"""The files of a component, and what the components share in the browser."""

from pathlib import Path

from genmodels.browser import HERE, source

__all__ = ["SHARED", "source"]

# Put before a component's own.
SHARED = source(HERE, "elements.js") + source(Path(__file__).parent, "shared.js")
