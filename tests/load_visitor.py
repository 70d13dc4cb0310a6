"""A visitor: goes from page to page, drags, changes what can be changed, compares, and thinks in between."""

import asyncio
import base64
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import numpy as np
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.load_page import Shown
from tests.load_tab import Tab

THINKS = 4.0  # seconds between two things that a visitor does, on average
LOOKS = 4  # things that are done on a page before the next one, on average
RELOADS = 0.05  # of the pages, the share that is reloaded
PACE = 1 / 25  # seconds between two pictures that are asked for while a slider is dragged
# Where people go, and how often. Train is the page of the run that trains.
PAGES = {
    "gallery": 2, "train": 2, "latent-map": 3, "perturbation": 3, "transitions": 2, "samples": 2, "compare": 2,
    "beta": 1, "arithmetic": 2,
}  # fmt: skip
KINDS = ("slider", "selectbox", "button_group", "checkbox", "number_input", "button")
PRESSED = ("Another", "Others")  # no button that starts, stops, deletes or leads away
# What turns a run's knobs, and what begins work of many seconds that the page announces, with a bar and a button Stop.
LEFT_ALONE = ("Learning rate", "Beta", "Perplexity", "Images", "Frames")
BEGIN = {"train": ("Look back", "Logarithmic", "Across")}  # on this page no other widgets than these
INTERNAL = "$$STREAMLIT_INTERNAL_KEY"


class Place(NamedTuple):
    """What can be visited. training: the run that trains, or nothing. alike: runs to compare."""

    training: str
    alike: list[str]


class Visitor:
    def __init__(self, tab: Tab, place: Place, seed: int, key: str = "") -> None:
        self.tab, self.place, self.key = tab, place, key
        self.random = random.Random(seed)

    async def visit(self, until: float) -> None:
        """Until then, on the clock of time.monotonic. key: of a space, in the address from the beginning."""
        tab = self.tab
        try:
            await tab.open("", f"space={self.key}" if self.key else "")
            while time.monotonic() < until:
                for _ in range(1 + int(self.random.expovariate(1 / LOOKS))):
                    await self.think()
                    if time.monotonic() > until:
                        return
                    await self.act()
                await self.go(self.random.choices(list(PAGES), list(PAGES.values()))[0])
                if self.random.random() < RELOADS:
                    await self.think()
                    await tab.reload()
        finally:
            await tab.close()

    async def think(self) -> None:
        await asyncio.sleep(min(30.0, self.random.expovariate(1 / THINKS)))

    async def go(self, page: str) -> None:
        """By the navigation; or by a link to what is compared and to the run that trains."""
        alike = self.random.sample(self.place.alike, min(3, len(self.place.alike)))
        query = {
            "compare": f"runs={','.join(alike)}",
            "beta": f"runs={','.join(sorted(alike))}",
            "train": f"run={self.place.training or self.random.choice(self.place.alike)}",
            "gallery": "",
        }.get(page, f"run={self.random.choice(alike)}" if self.random.random() < 0.5 else "")
        keys = parse_qs(self.tab.page.query).get("space", [])  # the links of a demo carry it
        await self.tab.go(page, "&".join(filter(None, [*(f"space={key}" for key in keys), query])))

    async def act(self) -> None:
        """One thing that this page is for, or one of its widgets."""
        parts: dict[str, Callable[[Shown], Awaitable[None]]] = {
            "latents": self.drag, "scatter": self.point, "equation": self.pull, "player": self.scrub,
        }  # fmt: skip
        there = [(each, name) for name in parts if (each := self.tab.page.component(name))]
        if there and self.random.random() < 0.6:
            shown, name = self.random.choice(there)
            await parts[name](shown)
        elif able := self.able():
            await self.change(self.random.choice(able))

    # -- components

    async def drag(self, shown: Shown) -> None:
        """A latent slider for a second or two, and the page is told where it rests. As in a browser the pictures are
        from the route where the page has sent no decoder, one at a time."""
        about = json.loads(shown.proto.json)
        z, slider = np.array(about["z"]), self.random.choice(about["sliders"][: max(1, about["active"])])
        from_, to = (self.random.uniform(slider["low"], slider["high"]) for _ in range(2))
        for value in np.linspace(from_, to, self.random.randint(25, 50)):
            began = time.monotonic()
            z[slider["index"]] = value
            if about["decoder"]:
                await asyncio.sleep(PACE)
                continue
            _, found = await self.tab.get(about["route"], "decode", "POST", z.astype("<f4").tobytes())
            if found and len(found) != np.prod(about["shape"]):
                self.tab.wrong("perturbation", f"a picture of {len(found)} bytes")
            await asyncio.sleep(max(0.0, began + PACE - time.monotonic()))
        moved = {"token": about["token"], "z": z.tolist(), "strengths": about["strengths"]}
        await self.tell(shown, {"moved": moved})

    async def point(self, shown: Shown) -> None:
        """Over some points of the map and empty places; then round some points with the lasso."""
        size = int.from_bytes(shown.proto.bytes[:4], "little")
        about = json.loads(shown.proto.bytes[4 : 4 + size])
        count = about["arrays"]["labels"][2] // (2 if about["arrays"]["labels"][0] == "u2" else 1)
        for _ in range(self.random.randint(10, 25)):
            await asyncio.sleep(0.05)
            if "plane" in about and self.random.random() < 0.5:
                z = np.array(about["plane"]) @ [1, self.random.gauss(0, 1), self.random.gauss(0, 1)]
                await self.tab.get(about["decode"], "decode", "POST", z.astype("<f4").tobytes())
            elif "images" in about:
                joint = "&" if "?" in about["images"] else "?"
                for what in ("original", "reconstruction") if about.get("real", True) else ("reconstruction",):
                    path = f"{about['images']}{joint}what={what}&ids={self.random.randrange(count)}"
                    await self.tab.get(path, "images")
        bits = np.zeros(count, np.uint8)
        bits[self.random.sample(range(count), min(count, 40))] = 1
        text = base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()
        events = [{"event": "selection", "value": text}]
        trigger = WidgetState(id=f"{INTERNAL}_{shown.proto.id}__events", json_trigger_value=json.dumps(events))
        await self.tab.rerun(kind_of(shown), fragment=shown.fragment, triggers=(trigger,))

    async def pull(self, shown: Shown) -> None:
        """The strength of an equation: its pictures are in the browser, and the page is told where it rests."""
        await self.tell(shown, {"strength": self.random.randint(-10, 40) / 20})

    async def scrub(self, shown: Shown) -> None:
        """To a frame of a film."""
        await self.tell(shown, {"frame": self.random.randint(1, 50)})

    async def tell(self, shown: Shown, state: dict[str, Any]) -> None:
        self.tab.page.states[shown.proto.id] = WidgetState(id=shown.proto.id, json_value=json.dumps(state))
        await self.tab.rerun(kind_of(shown), fragment=shown.fragment)

    # -- widgets

    def able(self) -> list[Shown]:
        """The widgets of this page that a visitor may move."""
        name = self.tab.page.name
        found = []
        for each in self.tab.page.of(*KINDS):
            proto = each.proto
            allowed = proto.label.startswith(BEGIN[name]) if name in BEGIN else not proto.label.startswith(LEFT_ALONE)
            if not proto.disabled and allowed and (each.kind != "button" or proto.label in PRESSED):
                found.append(each)
        return found

    async def change(self, shown: Shown) -> None:
        """Another value of a widget, or a press of a button."""
        proto, pick = shown.proto, self.random
        state = WidgetState(id=proto.id)
        if shown.kind == "button":
            state.trigger_value = True
            await self.tab.rerun(kind_of(shown), fragment=shown.fragment, triggers=(state,))
            return
        if shown.kind == "checkbox":
            state.bool_value = not self.tab.page.states[proto.id].bool_value
        elif shown.kind == "selectbox":
            state.string_value = pick.choice(proto.options)
        elif shown.kind == "button_group":
            state.string_array_value.data.append(pick.choice(proto.options).content)
        elif shown.kind == "slider" and proto.options:
            state.string_array_value.data.append(pick.choice(proto.options))
        elif shown.kind == "slider":
            steps = int((proto.max - proto.min) / proto.step)
            state.double_array_value.data.append(proto.min + proto.step * pick.randint(0, steps))
        elif proto.data_type == proto.INT:
            low, high = (int(proto.min) if proto.has_min else 0), (int(proto.max) if proto.has_max else 100)
            state.int_value = pick.randint(low, min(high, low + 1000))
        else:
            low, high = (proto.min if proto.has_min else 0.0), (proto.max if proto.has_max else 1.0)
            state.double_value = round(pick.uniform(low, high), 2)
        self.tab.page.change(shown, state)
        await self.tab.rerun(kind_of(shown), fragment=shown.fragment)


def kind_of(shown: Shown) -> str:
    return "widget in a fragment" if shown.fragment else "widget"
