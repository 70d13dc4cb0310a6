"""The files of a component, and what the components share in the browser."""

from pathlib import Path


def source(folder: Path, *names: str) -> str:
    """Files one after the other, as UTF-8 whatever the machine's own encoding is."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


SHARED = source(Path(__file__).parent, "shared.js")  # put before a component's own
