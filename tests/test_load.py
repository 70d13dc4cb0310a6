"""The visitors of `make load` keep a page as a browser does: else what they measure is not what people do."""

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.load_page import EARLY, Page
from tests.load_tab import Request, Tab


def begun(run: str, *fragments: str) -> ForwardMsg:
    message = ForwardMsg()
    message.metadata.run.script_run_id = run
    message.metadata.run.fragment_ids.extend(fragments)
    message.new_session.config.max_cached_message_age = 2
    return message


def ended(run: str, *fragments: str, status: int = ForwardMsg.FINISHED_SUCCESSFULLY) -> ForwardMsg:
    message = begun(run, *fragments)
    message.script_finished = status  # type: ignore[assignment]
    return message


def slider(place: int, default: float, *, fragment: str = "", given: float | None = None, key: str = "") -> ForwardMsg:
    message = ForwardMsg(hash=f"slider-{place}")
    message.metadata.delta_path.extend([0, place])
    message.metadata.cacheable = True
    message.delta.fragment_id = fragment
    proto = message.delta.new_element.slider
    proto.id, proto.min, proto.max, proto.step = f"s{place}", 0, 10, 1
    proto.default.append(default)
    if key:
        proto.query_param_key = key
    if given is not None:
        proto.set_value = True
        proto.value.append(given)
    return message


def page_with(*messages: ForwardMsg) -> Page:
    page = Page()
    for message in (begun("1"), *messages, ended("1")):
        page.apply(message)
    return page


def values(page: Page) -> dict[str, float]:
    return {each.id: each.double_array_value.data[0] for each in page.rerun().rerun_script.widget_states.widgets}


def test_every_widget_is_sent_with_its_value_and_the_server_has_the_last_word():
    page = page_with(slider(0, 3.0), slider(1, 4.0, key="far"))
    state = WidgetState(id="s1")
    state.double_array_value.data.append(7)
    page.change(page.of("slider")[1], state)
    assert values(page) == {"s0": 3.0, "s1": 7.0}
    assert page.rerun().rerun_script.query_string == "far=7"
    for message in (begun("2"), slider(0, 3.0), slider(1, 4.0, given=9.0), ended("2")):
        page.apply(message)
    assert values(page) == {"s0": 3.0, "s1": 9.0}


def test_what_a_run_did_not_draw_again_is_gone_but_a_fragment_clears_only_its_own():
    page = page_with(slider(0, 3.0), slider(1, 4.0, fragment="f"), slider(2, 5.0, fragment="f"))
    for message in (begun("2", "f"), slider(1, 4.0, fragment="f"), ended("2", "f")):
        page.apply(message)
    assert set(values(page)) == {"s0", "s1"}
    for message in (begun("3"), slider(1, 4.0), ended("3", status=EARLY)):
        page.apply(message)
    assert set(values(page)) == {"s0", "s1"}, "a run that was broken off clears nothing"
    for message in (begun("4"), slider(1, 4.0), ended("4")):
        page.apply(message)
    assert set(values(page)) == {"s1"}


def test_a_message_that_was_kept_is_sent_as_its_hash_until_nobody_asks_for_it():
    page = page_with(slider(0, 3.0))
    assert page.rerun().rerun_script.cached_message_hashes == ["slider-0"]
    named = ForwardMsg(ref_hash="slider-0")
    named.metadata.delta_path.extend([0, 5])
    for message in (begun("2"), named, ended("2")):
        page.apply(message)
    assert page.elements[0, 5].proto.id == "s0"
    assert (0, 0) not in page.elements
    for number in range(3, 7):
        page.apply(begun(str(number)))
        page.apply(ended(str(number)))
    assert not page.rerun().rerun_script.cached_message_hashes


def test_errors_are_noticed_and_fragments_tick_until_the_page_runs_again():
    error, tick = ForwardMsg(), ForwardMsg()
    error.delta.new_element.exception.type, error.delta.new_element.exception.message = "ValueError", "no"
    tick.auto_rerun.fragment_id, tick.auto_rerun.interval = "f", 1.0
    page = page_with(error, tick)
    assert page.problems == ["ValueError: no"]
    assert page.ticks == {"f": 1.0}
    page.apply(begun("2", "f"))
    assert page.ticks
    page.apply(begun("3"))
    assert not page.ticks


def test_a_rerun_is_answered_by_the_end_of_the_last_run_that_draws_it():
    told: list[tuple[str, str, float]] = []
    tab = Tab("127.0.0.1", 0, lambda *words: told.append(words), lambda *words: None)
    part, whole = Request("widget in a fragment", "", "f", 0.0), Request("page", "", "", 0.0)
    tab.asked = [part, whole]
    drawn = slider(1, 4.0, fragment="f")
    for message in (begun("1", "f"), drawn, begun("2", "f"), ended("1", "f")):
        tab._take(message)
    assert not told, "the first one was given up by the second"
    for message in (drawn, ended("2", "f")):
        tab._take(message)
    assert [each[0] for each in told] == ["widget in a fragment"]
    for message in (begun("3"), drawn, begun("4", "f"), drawn, ended("4", "f")):
        tab._take(message)
    assert len(told) == 1, "a part of a page is no answer to who asked for the whole"
    tab._take(ended("3"))
    assert whole.done.is_set()
