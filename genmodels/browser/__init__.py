"""JavaScript, HTML and CSS that the components of the app and the one-file explorer share, each by putting it in."""

from pathlib import Path

HERE = Path(__file__).parent
# The map, one file behind the other. Behind them comes what calls it.
SCATTER = (
    "marks", "view", "points", "webgl", "plain", "pictures", "replay", "legend", "input", "scatter", "hover", "frame",
)  # fmt: skip


def source(folder: Path, *names: str) -> str:
    """Files one after the other, as UTF-8 whatever the machine's own encoding is."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
