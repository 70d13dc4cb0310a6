"""The HTML of the one-file explorer: what can be read without a script, the scripts, and the policy that holds them."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from genmodels import data, settings
from genmodels.browser import HERE as BROWSER
from genmodels.browser import SCATTER, source
from genmodels.browser.message import pack
from genmodels.decoder import Decoder
from genmodels.explorer.contents import Arrays
from genmodels.families import FAMILIES
from genmodels.figures import number, title
from genmodels.runs import Run

HERE = Path(__file__).parent
OWN = ("state", "map", "grid", "tour", "main")
BETTER = {"lower": "↓ lower", "higher": "↑ higher", "neither": ""}


def written(run: Run, about: dict[str, Any], arrays: Arrays, decoder: Decoder) -> bytes:
    """The whole file."""
    config = run.config
    family, made_of = FAMILIES[config.family], data.title(config.dataset)
    payload = np.frombuffer(decoder.halved(), np.uint8)
    message = pack(about, arrays | {"decoder": (payload, "u1")})
    styles, script = [source(HERE, "explorer.css"), *(_shadow(name) for name in ("scatter", "latents"))], _script()
    words = {
        "title": f"{family.title} on {made_of}",
        "lead": f"{family.title}: {family.summary}. Learned from {made_of}.",
        "settings": json.dumps(config.model_dump(mode="json"), indent=1, ensure_ascii=False),
    }
    parts = {
        "policy": _policy(styles, script),
        "facts": _pairs(_facts(run, decoder)),
        "figures": _table(("Figure", "Value", "Better", "Floor", "n"), _figures(run)),
        "knobs": _table(("Setting", "Value", "Default"), _settings(run)),
        "style": styles[0],
        "scatter_style": styles[1],
        "latents_style": styles[2],
        "scatter": source(BROWSER / "scatter", "scatter.html"),
        "latents": source(BROWSER / "latents", "latents.html"),
        "data": base64.b64encode(message).decode(),
        "script": script,
    }
    page = Template(source(HERE, "page.html"))
    return page.substitute(parts | {name: escape(text) for name, text in words.items()}).encode()


def _policy(styles: Sequence[str], script: str) -> str:
    """Nothing may be fetched or sent, and nothing runs but the script and the styles that were written here."""
    rules = {"default-src": "'none'", "script-src": _hash(script), "style-src": " ".join(map(_hash, styles))}
    rules |= {"img-src": "data: blob:", "base-uri": "'none'", "form-action": "'none'"}
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _shadow(name: str) -> str:
    return source(BROWSER / name, f"{name}.css")


@cache
def _script() -> str:
    """The components of the app as they are, each in a scope of its own, and what puts them together."""
    shared = source(BROWSER, "elements.js", "message.js")
    decoder = re.sub(r"^export ", "", source(BROWSER, "decoder.js"), flags=re.MULTILINE)
    latents = source(BROWSER / "latents", "latents.js").replace("export default function", "parts.latents = function")
    scatter = source(BROWSER / "scatter", *(f"{part}.js" for part in SCATTER))
    bodies = [
        f"{decoder}\nObject.assign(parts, {{ read, decode, singles }});",
        latents,
        f"{scatter}\nparts.scatter = (root) => new ScatterMap(root);",
    ]
    scopes = [f"(() => {{\n{body}\n}})();" for body in bodies]
    own = source(HERE, *(f"{name}.js" for name in OWN))
    return "\n".join(['"use strict";', "const parts = {};", shared, *scopes, own])


def _pairs(facts: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its rows, with what follows a line break smaller; '' without rows."""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = [
        f'<tr><th scope="row">{_named(first)}</th>' + "".join(f"<td>{escape(each)}</td>" for each in rest) + "</tr>"
        for first, *rest in rows
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>" if body else ""


def _named(text: str) -> str:
    name, _, small = text.partition("\n")
    return escape(name) + (f"<small>{escape(small)}</small>" if small else "")


def _facts(run: Run, decoder: Decoder) -> list[tuple[str, str]]:
    """Where it comes from, in a few words each."""
    config = run.config
    channels, height, width = config.shape
    weights = (run.path / "weights.safetensors").read_bytes()
    status, made = run.status(), config.created.replace("T", " ")[:16]
    return [
        ("Run", run.id),
        ("Images", f"{width} x {height} pixels, {'grey' if channels == 1 else 'colour'}"),
        ("Made", f"{made} UTC"),
        ("Trained", f"{status.step:,} steps, seed {config.seed}"),
        ("Decoder", f"{len(decoder.weights):,} weights, in half precision here"),
        ("SHA-256 of weights.safetensors", hashlib.sha256(weights).hexdigest()),
        ("Versions", ", ".join(f"{name} {number}" for name, number in {**_own_version(), **config.versions}.items())),
    ]


def _own_version() -> dict[str, str]:
    try:
        return {"latent-lab": version("latent-lab")}
    except PackageNotFoundError:  # run from its folder
        return {}


def _figures(run: Run) -> list[tuple[str, ...]]:
    return [
        (
            f"{title(name)}\n{each['unit']}", number(each["value"], each["unit"]), BETTER[each["better"]],
            "" if each["floor"] is None else number(each["floor"], each["unit"]), f"{each['n']:,}",
        )
        for name, each in run.summary().items()
    ]  # fmt: skip


def _settings(run: Run) -> list[tuple[str, str, str]]:
    """What differs from the defaults first."""
    known = sorted(settings.of_run(run.config), key=lambda each: not each.differs)
    own = [(title(each.name), each.value, each.default or "" if each.differs else "") for each in known]
    return [("Family", run.config.family, ""), ("Dataset", run.config.dataset, ""), *own]
