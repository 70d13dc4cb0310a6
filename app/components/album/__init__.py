"""Pictures of whole pixels with words below, as many beside each other as there is room for, or in a table."""

import base64
import html
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import streamlit as st

from app import collected
from app.components.source import source
from genmodels import media

STYLE = f"<style>{source(Path(__file__).parent, 'album.css')}</style>"


def picture(image: np.ndarray, size: tuple[int, int], alt: str) -> str:
    """uint8 (C, H, W), as shown -> an element; the browser enlarges it to squares. size: width, height; CSS pixels."""
    address = _address(image.tobytes(), image.shape)
    collected.add(alt, lambda: media.png(media.grid(image[None], 1, max(1, size[0] // image.shape[2]))))
    words = f'alt="{html.escape(alt)}" title="{html.escape(alt)}"'
    return f'<img src="data:image/png;base64,{address}" width="{size[0]}" height="{size[1]}" {words}>'


@lru_cache(512)  # an album is drawn again with each rerun
def _address(pixels: bytes, shape: tuple[int, ...]) -> str:
    image = np.frombuffer(pixels, np.uint8).reshape(shape)
    return base64.b64encode(media.png(media.grid(image[None], 1))).decode()


def figure(parts: Sequence[str], caption: str, flagged: bool = False) -> str:
    """Pictures beside each other with words below, which are HTML; flagged: in a frame."""
    mark = ' class="flag"' if flagged else ""
    return f"<figure><div{mark}>{''.join(parts)}</div><figcaption>{caption}</figcaption></figure>"


def album(figures: Sequence[str]) -> None:
    """Draw them, one after the other."""
    st.html(f'{STYLE}<div class="album">{"".join(figures)}</div>')


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw rows of pictures, each after its name; the columns are numbered."""
    heads = "".join(f"<span>{i + 1}</span>" for i in range(len(rows[0])))
    body = "".join(
        f'<span class="name">{html.escape(name)}</span>{"".join(row)}' for name, row in zip(names, rows, strict=True)
    )
    columns = f"grid-template-columns: max-content repeat({len(rows[0])}, max-content)"
    reached = 'tabindex="0" role="group" aria-label="Pictures in a table"'  # it may be wider than the screen
    st.html(f'{STYLE}<div class="album table" {reached} style="{columns}"><span></span>{heads}{body}</div>')
