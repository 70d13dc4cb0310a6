"""What is read or told apart by its colour can be seen on both backgrounds: WCAG 2.2, 1.4.3 and 1.4.11."""

import tomllib
from pathlib import Path

import pytest

from genmodels.figures import COLOURS, EDGE, LINES, MARKS, STRONG

THEME = tomllib.loads((Path(__file__).parent.parent / ".streamlit" / "config.toml").read_text())["theme"]
WHITE, TEXT, GRAPHIC = "#ffffff", 4.5, 3.0
CAPTION = 0.6  # of the text's colour, the rest is the background's


def parts(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def luminance(colour: list[float]) -> float:
    r, g, b = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: list[float], two: list[float]) -> float:
    dark, light = sorted((luminance(one), luminance(two)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_known_pairs() -> None:
    assert contrast(parts("#000000"), parts(WHITE)) == pytest.approx(21)
    assert contrast(parts("#767676"), parts(WHITE)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_the_theme_can_be_read(scheme: str) -> None:
    theme = THEME[scheme]
    paper, text, primary = (parts(theme[f"{name}Color"]) for name in ("background", "text", "primary"))
    caption = [CAPTION * a + (1 - CAPTION) * b for a, b in zip(text, paper, strict=True)]
    assert contrast(text, paper) > TEXT
    assert contrast(caption, paper) > TEXT
    assert contrast(parts(WHITE), primary) > TEXT, "white words on the main button"
    assert contrast(primary, paper) > GRAPHIC, "the frame of what is chosen, the knob of a slider"
    if "codeTextColor" in theme:
        assert contrast(parts(theme["codeTextColor"]), parts(theme["codeBackgroundColor"])) > TEXT


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_of_charts_can_be_seen(scheme: str) -> None:
    paper = parts(THEME[scheme]["backgroundColor"])
    for colour in (*STRONG, EDGE):
        assert contrast(parts(colour), paper) > GRAPHIC, colour
    assert len(set(COLOURS)) == len(set(MARKS)) == len(set(LINES)) == 10
    assert LINES[: len(STRONG)] == STRONG, "the first lines need no edge"
