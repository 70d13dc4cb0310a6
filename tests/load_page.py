"""A page as a browser keeps it: what Streamlit's messages make of it, and what is sent back. No network here.

    the server's ForwardMsg  ->  `Page.apply`      `Page.rerun`  ->  the browser's BackMsg

It follows the frontend of Streamlit 1.67: elements by their place, those of an earlier run dropped when a run ends; a
state for each widget, sent whole with every rerun; large messages kept, named by their hashes and then sent as such.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

EARLY = ForwardMsg.FINISHED_EARLY_FOR_RERUN
TICK = "tick"  # a rerun that a fragment asked for, every so often


@dataclass
class Shown:
    """An element of the page. kind: its field in Element. fragment: the one that drew it, or nothing. run: the last."""

    kind: str
    proto: Any
    fragment: str
    run: str


@dataclass
class Kept:
    """A message that the server need not send again. age: runs of the page when it was last asked for."""

    message: ForwardMsg
    age: int


@dataclass
class Page:
    """pages: address -> hash. ticks: fragment -> seconds between two of its reruns. problems: what a person would see
    as an error, not told yet."""

    query: str = ""
    name: str = ""
    hash: str = ""
    run: str = ""
    fragments: tuple[str, ...] = ()
    pages: dict[str, str] = field(default_factory=dict)
    elements: dict[tuple[int, ...], Shown] = field(default_factory=dict)
    states: dict[str, WidgetState] = field(default_factory=dict)
    ticks: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kept: dict[str, Kept] = field(default_factory=dict)
    runs: int = 0
    oldest: int = 2  # runs of the page until a message that nobody asks for is forgotten

    # -- from the server

    def apply(self, message: ForwardMsg) -> str:
        """Take a message; -> its kind, with 'ref_hash' looked up."""
        kind = message.WhichOneof("type") or ""
        if kind == "ref_hash":
            kept = self.kept[message.ref_hash]
            kept.age = self.runs
            self._element(kept.message, message.metadata.delta_path)
            return "delta"
        if handler := getattr(self, f"_{kind}", None):
            handler(message)
        return kind

    def _new_session(self, message: ForwardMsg) -> None:
        self.run, self.fragments = message.metadata.run.script_run_id, tuple(message.metadata.run.fragment_ids)
        self.oldest = message.new_session.config.max_cached_message_age
        if not self.fragments:
            self.ticks.clear()

    def _delta(self, message: ForwardMsg) -> None:
        if message.metadata.cacheable:
            self.kept[message.hash] = Kept(message, self.runs)
        if message.delta.WhichOneof("type") == "new_element":
            self._element(message, message.metadata.delta_path)
        elif message.delta.WhichOneof("type") == "add_block":
            self.elements.pop(tuple(message.metadata.delta_path), None)

    def _element(self, message: ForwardMsg, path: Any) -> None:
        kind = message.delta.new_element.WhichOneof("type")
        proto = getattr(message.delta.new_element, kind)
        self.elements[tuple(path)] = Shown(kind, proto, message.delta.fragment_id, self.run)
        name = getattr(proto, "id", "")
        if (
            name
            and (name not in self.states or getattr(proto, "set_value", False))
            and (state := state_of(kind, proto))
        ):
            self.states[name] = state
        if kind == "exception":
            self.problems.append(f"{proto.type}: {proto.message}")
        elif kind == "alert" and proto.format == proto.ERROR:
            self.problems.append(proto.body)

    def _navigation(self, message: ForwardMsg) -> None:
        self.hash = message.navigation.page_script_hash
        self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
        self.name = next((name for name, each in self.pages.items() if each == self.hash), self.name)

    def _page_info_changed(self, message: ForwardMsg) -> None:
        self.query = message.page_info_changed.query_string

    def _auto_rerun(self, message: ForwardMsg) -> None:
        self.ticks[message.auto_rerun.fragment_id] = message.auto_rerun.interval

    def _stop_auto_rerun(self, message: ForwardMsg) -> None:
        for fragment in message.stop_auto_rerun.fragment_ids:
            self.ticks.pop(fragment, None)

    def _page_not_found(self, message: ForwardMsg) -> None:
        self.problems.append(f"There is no page {message.page_not_found.page_name}.")

    def _session_event(self, message: ForwardMsg) -> None:
        if message.session_event.WhichOneof("type") == "script_compilation_exception":
            self.problems.append(message.session_event.script_compilation_exception.message)

    def _script_finished(self, message: ForwardMsg) -> None:
        if message.script_finished == EARLY:
            return
        run, fragments = message.metadata.run.script_run_id, set(message.metadata.run.fragment_ids)
        for path, each in list(self.elements.items()):
            if each.run != run and (not fragments or each.fragment in fragments):
                del self.elements[path]
        there = {getattr(each.proto, "id", "") for each in self.elements.values()}
        self.states = {name: state for name, state in self.states.items() if name in there}
        self.runs += 1
        for name, kept in list(self.kept.items()):
            whose = kept.message.delta.fragment_id
            if self.runs - kept.age > self.oldest and (not fragments or whose in fragments):
                del self.kept[name]

    # -- to the server

    def rerun(
        self, *, fragment: str = "", page: str | None = None, query: str = "", tick: bool = False,
        triggers: tuple[WidgetState, ...] = (),
    ) -> BackMsg:  # fmt: skip
        """Run it again; or one of its fragments; or another page, by its address, with this query.

        triggers: buttons that were pressed and the like, which have no state afterwards.
        """
        message = BackMsg()
        asked = message.rerun_script
        if page is not None and page != self.name:
            self.query, self.name, self.states = query, page, {}
            self.hash = self.pages.get(page, "")
        if not self.hash:
            asked.page_name = self.name
        asked.query_string, asked.page_script_hash, asked.fragment_id = self.query, self.hash, fragment
        asked.is_auto_rerun = tick
        asked.widget_states.widgets.extend([*self.states.values(), *triggers])
        asked.cached_message_hashes.extend(self.kept)
        asked.context_info.timezone, asked.context_info.locale = "Europe/Berlin", "en-GB"
        return message

    def change(self, shown: Shown, state: WidgetState) -> None:
        """A widget was moved by hand; one that is bound to the address writes it there."""
        self.states[shown.proto.id] = state
        if key := getattr(shown.proto, "query_param_key", ""):
            query = parse_qs(self.query) | {key: in_address(state)}
            self.query = urlencode(query, doseq=True)

    def of(self, *kinds: str) -> list[Shown]:
        """The elements of these kinds, in the main part of the page."""
        return [each for path, each in sorted(self.elements.items()) if each.kind in kinds and path[0] == 0]

    def has(self, fragment: str) -> bool:
        """Whether the page shows anything that this fragment drew."""
        return any(each.fragment == fragment for each in self.elements.values())

    def component(self, name: str) -> Shown | None:
        """The component of this name, if the page has it."""
        return next((each for each in self.of("bidi_component") if each.proto.component_name == name), None)


def state_of(kind: str, proto: Any) -> WidgetState | None:
    """What a widget stands at when it appears, or when the server moved it; None for what has no value."""
    given = proto.set_value if hasattr(proto, "set_value") else False
    state = WidgetState(id=getattr(proto, "id", ""))
    if kind == "slider" and proto.type == proto.SELECT_SLIDER:
        state.string_array_value.data.extend(
            proto.raw_value if given else [proto.options[int(each)] for each in proto.default]
        )
    elif kind == "slider":
        state.double_array_value.data.extend(proto.value if given else proto.default)
    elif kind == "selectbox":
        if given or proto.HasField("default"):
            state.string_value = proto.raw_value if given else proto.options[proto.default]
    elif kind == "multiselect":
        state.string_array_value.data.extend(
            proto.raw_values if given else [proto.options[each] for each in proto.default]
        )
    elif kind == "button_group":
        state.string_array_value.data.extend(
            proto.raw_values if given else [proto.options[each].content for each in proto.default]
        )
    elif kind == "checkbox":
        state.bool_value = proto.value if given else proto.default
    elif kind == "number_input":
        number = proto.value if given else proto.default
        if proto.data_type == proto.INT:
            state.int_value = int(number)
        else:
            state.double_value = number
    elif kind == "text_input":
        state.string_value = proto.value if given else proto.default
    else:
        return None
    return state


def in_address(state: WidgetState) -> list[str]:
    """A widget's value as the browser writes it into the address."""
    value = getattr(state, state.WhichOneof("value"))
    values = list(value.data) if hasattr(value, "data") else [value]
    return [str(each).lower() if isinstance(each, bool) else f"{each:g}" if isinstance(each, float) else str(each)
            for each in values]  # fmt: skip


def described(states: Mapping[str, WidgetState]) -> dict[str, str]:
    """For a person who looks at what goes wrong."""
    return {name: ",".join(in_address(state)) for name, state in states.items() if state.WhichOneof("value")}
