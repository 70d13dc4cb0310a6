"""The latent map's page and its parts, without a browser: every family, bad runs, the replay, the selection."""

import base64
import io
import json
import struct
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from app import background, mapped, maps
from app.components import scatter
from genmodels import demo, families
from genmodels.analysis import projection
from genmodels.config import UserError
from genmodels.files import in_space
from genmodels.inside import open_inside
from genmodels.maps import Map, keeper_of
from genmodels.runs import Run
from tests.test_pages import ROOT, settled, words
from tests.test_worker import wait_until

Trained = Callable[..., Run]
ABLE = [name for name, family in families.FAMILIES.items() if {"encode", "decode"} <= set(family.abilities)]


def visit(**query: str) -> AppTest:
    """The page once what goes on beside it is done."""
    return settled(open_page(**query))


def open_page(**query: str) -> AppTest:
    """Open the page as a link does. AppTest knows a page whose address is not its file's name after a first run."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60).run()
    for name, value in query.items():
        app.query_params[name] = value
    return app.switch_page(str(ROOT / "pages" / "latent_map.py")).run()


def button(app: AppTest, label: str) -> Button:
    (found,) = [each for each in app.button if each.label == label]
    return found


def message(app: AppTest, number: int = 0) -> tuple[dict, dict[str, np.ndarray]]:
    """What the component of the page was given."""
    blob = app.get("bidi_component")[number].proto.bytes
    (length,) = struct.unpack("<I", blob[:4])
    head = json.loads(blob[4 : 4 + length])
    body = blob[4 + length :]
    arrays = {
        name: np.frombuffer(body, kind, size // np.dtype(kind).itemsize, start)
        for name, (kind, start, size) in head["arrays"].items()
    }
    return head, arrays


@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("view", ["PCA", "t-SNE", "Dimensions"])
def test_every_family_in_every_view(name: str, view: str, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    if name != "vae":  # whose t-SNE has a process of its own as all have, which takes longer to begin than the map
        monkeypatch.setattr(projection, "_run_process", lambda words, said: projection._main(*words))
    run = trained(name, budget=3, log_every=1)
    app = visit(run=run.id, view=view)
    assert not app.exception
    assert not app.error
    head, arrays = message(app)
    inside = open_inside(run)
    assert arrays["points"].shape == (2 * len(inside.means),)
    assert (arrays["labels"] == inside.labels).all()
    assert ("plane" in head) == (view != "t-SNE")
    assert ("steps" in head) == (view != "t-SNE" and not inside.in_noise), "codes of noise are kept at the end only"
    if view == "Dimensions":
        x, y = inside.order[:2]
        assert (arrays["points"].reshape(-1, 2) == inside.means[:, [x, y]]).all()
    assert "nearest neighbours" in words(app)


def test_the_plane_in_the_message_leads_back_to_the_codes(trained: Trained) -> None:
    run = trained(budget=20, latent_size=2)
    app = visit(run=run.id, view="PCA")
    head, arrays = message(app)
    plane, points = np.array(head["plane"]), arrays["points"].reshape(-1, 2)
    assert plane[:, 0] + points @ plane[:, 1:].T == pytest.approx(open_inside(run).means, abs=1e-4)
    assert [axis.split(":")[0] for axis in head["axes"]] == ["principal component 1", "principal component 2"]


def test_the_replay_ends_on_the_map_and_is_of_the_images_it_names(trained: Trained) -> None:
    run = trained(budget=40, log_every=1)
    head, arrays = message(visit(run=run.id))
    inside = open_inside(run)
    assert head["steps"] == run.snapshots()
    frames = arrays["frames"].reshape(len(head["steps"]), -1, 2)
    points = arrays["points"].reshape(-1, 2)
    assert frames[-1] == pytest.approx(points[arrays["watched"]], abs=1e-3)
    kept = run.arrays(f"snapshots/{head['steps'][-1]}")
    assert kept["latents"] == pytest.approx(inside.means[arrays["watched"]], abs=1e-4)


def test_a_rerun_sends_the_same_bytes_and_what_the_link_shows_alone_stays(trained: Trained) -> None:
    app = visit(run=trained(budget=3).id, shown=["5", "3", "dog"])  # type: ignore[arg-type]
    assert message(app)[0]["on"] == [3, 5]
    assert "left out" in app.warning[0].value
    before = app.get("bidi_component")[0].proto.bytes
    assert app.run().get("bidi_component")[0].proto.bytes == before
    assert app.query_params["shown"] == ["3", "5"]
    assert not app.warning


def test_the_selection_of_a_run_is_shown_on_its_page(trained: Trained) -> None:
    run = trained(budget=3)
    app = visit(run=run.id)
    app.session_state[f"selection-{run.id}"] = [3, 5, 8, 10**6]
    app.run()
    assert not app.exception
    assert app.header[0].value == "3 selected"
    counts = np.bincount(open_inside(run).labels[[3, 5, 8]])
    assert f"{counts.max()} of 3 are of class {counts.argmax()}" in words(app)


def test_two_runs_share_the_selection_where_the_images_are_the_same(trained: Trained) -> None:
    one, two, other = trained(budget=3), trained("autoencoder", budget=3), trained(budget=3, seed=5)
    app = visit(run=one.id, run2=two.id)
    assert not app.exception
    keep = [f"selection-{one.id}", f"selection-{two.id}"]
    assert [message(app, number)[0]["keep"] for number in (0, 1)] == [keep, keep]
    app = visit(run=one.id, run2=other.id)
    assert [message(app, number)[0]["keep"] for number in (0, 1)] == [keep[:1], [f"selection-{other.id}"]]
    assert "selection of its own" in words(app)
    app = visit(run=one.id, run2=one.id)
    assert not app.exception


def test_the_axes_of_two_runs_are_dimensions_that_both_have(trained: Trained) -> None:
    many, few, single = trained(budget=3), trained(budget=3, latent_size=4), trained(budget=3, latent_size=1)
    app = visit(run=many.id, run2=few.id, view="Dimensions")
    assert not app.error
    assert [each.max for each in app.number_input if each.label in ("Across", "Up")] == [4, 4]
    assert not visit(run=single.id, run2=few.id, view="Dimensions").error


def test_work_beside_a_page_ends_when_nobody_watches_and_says_what_went_wrong(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, began, ended = trained(budget=3), threading.Event(), []

    def endless(codes: np.ndarray, perplexity: float, seed: int, said: Callable[[float], None]) -> np.ndarray:
        began.set()
        try:
            while True:
                said(0.25)
                time.sleep(0.001)
        finally:
            ended.append(seed)

    monkeypatch.setattr("genmodels.maps.tsne", endless)
    app = open_page(run=run.id, view="t-SNE", seed="4")
    assert began.wait(20)
    (seed,) = [each for each in app.number_input if each.label == "Seed"]
    seed.set_value(5).run()
    wait_until(lambda: ended == [4])  # what was watched before is left at once
    assert app.get("progress")
    button(app, "Stop").click().run()
    assert not settled(app).exception
    assert "Stopped" in app.info[0].value
    wait_until(lambda: ended == [4, 5])
    monkeypatch.setattr("genmodels.maps.tsne", lambda *words: full(began))
    assert "full" in settled(button(app, "Start again").click().run()).error[0].value
    began.clear()
    assert "full" in settled(app.run()).error[0].value
    assert not began.is_set(), "what failed is tried again when somebody asks for it"
    monkeypatch.setattr(background, "MOST", 0)
    monkeypatch.setattr(background.demo, "on", lambda: True)
    assert "as many others" in button(app, "Start again").click().run().error[0].value
    assert not began.is_set()


def full(began: threading.Event) -> None:
    began.set()
    raise UserError("The disk is full: make room.")


def test_tsne_is_kept_with_the_run_until_the_codes_change(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(budget=3)
    app = visit(run=run.id, view="t-SNE", perplexity="10", seed="4")
    first = message(app)[1]["points"]
    assert (run.path / f"tsne-{len(first) // 2}-10-4.npz").exists()
    calls = []
    placed = lambda codes, *words: calls.append(words) or np.zeros((len(codes), 2), np.float32)  # noqa: E731
    monkeypatch.setattr("genmodels.maps.tsne", placed)
    again = message(visit(run=run.id, view="t-SNE", perplexity="10", seed="4"))[1]["points"]
    assert not calls
    assert (first == again).all()
    known = run.arrays("latents")
    run.write_arrays("latents", known | {"means": known["means"] + 1})
    assert (message(settled(app.run()))[1]["points"] == 0).all(), "not what was made for this page before"
    assert len(calls) == 1
    (run.path / f"tsne-{len(first) // 2}-10-4.npz").write_bytes(b"not a zip")
    assert not visit(run=run.id, view="t-SNE", perplexity="10", seed="4").exception
    assert len(calls) == 2


def test_nothing_is_written_into_a_run_that_comes_with_the_package(monkeypatch: pytest.MonkeyPatch, trained: Trained):
    run = trained(budget=3)
    monkeypatch.setattr(Run, "shipped", True)
    before = sorted(run.path.iterdir())
    assert not visit(run=run.id, view="t-SNE").exception
    assert sorted(run.path.iterdir()) == before


def test_two_maps_wait_for_tsne_each_with_its_button_and_in_a_demo_in_turn(
    monkeypatch: pytest.MonkeyPatch, trained: Trained
) -> None:
    runs = [trained(budget=3), trained(budget=3, hidden_size=16)]
    monkeypatch.setattr(projection, "_run_process", lambda words, said: projection._main(*words))
    assert not visit(run=runs[0].id, run2=runs[1].id, view="t-SNE", seed="1").exception
    monkeypatch.setenv("GENMODELS_DEMO", "1")
    monkeypatch.setattr(projection, "WAITS", 0.001)
    said: list[float] = []
    with projection._turn, pytest.raises(KeyboardInterrupt):
        projection.tsne(open_inside(runs[0]).means, 10, said=lambda share: said.append(share) or interrupt())
    assert said == [0.0]
    assert not projection._turn.locked()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_what_visitors_share_is_found_when_no_more_fits(monkeypatch: pytest.MonkeyPatch, trained: Trained):
    run = trained(budget=3)
    monkeypatch.setattr(Run, "shipped", True)
    monkeypatch.setattr("genmodels.maps.SHARED", 1)
    monkeypatch.setenv("GENMODELS_DEMO", "1")
    with in_space(demo.new_space()):
        first, second = (keeper_of(run, name) for name in ("a.npz", "a.npz"))
        assert first.path == second.path
        first.write_arrays("a", {"x": np.zeros(1)})
        own = keeper_of(run, "b.npz")
        own.write_arrays("b", {"x": np.zeros(1)})
        assert own.path != first.path
        assert [keeper_of(run, f"{name}.npz").path for name in "ab"] == [first.path, own.path]


def test_one_latent_dimension_is_a_strip_with_a_sentence(trained: Trained) -> None:
    app = visit(run=trained(budget=3, latent_size=1).id)
    assert not app.exception
    assert "a single latent dimension" in words(app)
    head, arrays = message(app)
    assert (arrays["points"].reshape(-1, 2)[:, 1] == arrays["labels"]).all()
    assert (arrays["frames"].reshape(len(head["steps"]), -1, 2)[..., 1] == arrays["labels"][arrays["watched"]]).all()


def test_codes_that_are_not_numbers_are_one_sentence(trained: Trained) -> None:
    run = trained(budget=3)
    known = run.arrays("latents")
    run.write_arrays("latents", known | {"means": np.full_like(known["means"], np.nan)})
    app = visit(run=run.id)
    assert not app.exception
    assert "not numbers" in app.error[0].value


def test_missing_and_damaged_snapshots(trained: Trained) -> None:
    run = trained(budget=10, log_every=1)
    steps = run.snapshots()
    (run.path / "snapshots" / f"{steps[0]}.npz").write_bytes(b"half")
    app = visit(run=run.id)
    assert not app.exception
    assert message(app)[0]["steps"] == steps[1:]
    for step in steps:
        (run.path / "snapshots" / f"{step}.npz").unlink()
    app = visit(run=run.id)
    assert not app.exception
    assert "steps" not in message(app)[0]
    assert "cannot be replayed" in words(app)


def test_a_single_image(trained: Trained) -> None:
    run = trained(budget=3)
    known = run.arrays("latents")
    config = run.config.model_copy(update={"dataset": "folder:gone"})
    (run.path / "config.json").write_text(config.model_dump_json())
    run.write_arrays("latents", {name: array[:1] for name, array in known.items()})
    app = visit(run=run.id)
    assert not app.exception
    assert len(message(app)[1]["points"]) == 2
    assert "not on this machine" in words(app)


@pytest.mark.parametrize("query", [{"x": "1", "y": "1"}, {"x": "99"}, {"view": "umap"}, {"seed": "x"}, {"images": "7"}])
def test_a_strange_address_breaks_nothing(query: dict[str, str], trained: Trained) -> None:
    app = visit(**({"run": trained(budget=3).id, "view": "Dimensions"} | query))
    assert not app.exception
    assert bool(app.error) == (query == {"x": "1", "y": "1"})


def test_an_empty_home_leads_to_training() -> None:
    app = visit()
    assert not app.exception
    assert app.info or app.get("bidi_component")


def test_factors_colour_the_map(trained: Trained) -> None:
    run = trained(dataset="shapes", budget=2)
    inside = open_inside(run)
    for by in inside.factor_names:
        labels, names, colours = maps.colouring(inside, by)
        values = inside.factors[:, inside.factor_names.index(by)]
        assert len(set(colours)) == len(names) <= maps.MOST_LEVELS
        assert len(names) > labels.max()
        order = [values[labels == label].mean() for label in np.unique(labels)]
        assert order == sorted(order)
    assert maps.colouring(inside, "no such")[0] is inside.labels


@pytest.mark.parametrize("ids", [[], [0], [7], [8], [0, 9, 4000]])
def test_a_selection_travels_as_bits(ids: list[int]) -> None:
    bits = np.zeros(max(ids, default=-1) + 1, np.uint8)
    bits[ids] = 1
    text = base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()
    assert scatter.unpack_selection(text) == ids


@pytest.mark.parametrize("text", [None, 5, "no base64!", "A" * 10**7, ["AA=="]])
def test_a_selection_that_no_map_sent_is_not_taken(text: object) -> None:
    assert scatter.unpack_selection(text) is None


def test_the_table_and_the_file_count_test_images_from_1():
    points, labels, ids = np.zeros((2, 2), np.float32), np.array([0, 1]), np.array([0, 7])
    shown = scatter._by_point(points, labels, ["a", "b"], ids, ("", ""), [7])
    assert shown["test image"].tolist() == [1, 8]
    assert shown["selected"].tolist() == [False, True]
    kept = mapped.table(Map(points, ids, None, ("", "")), labels, ["a", "b"]).decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in kept] == ["test image", "1", "8"]


def test_what_is_not_shown_alone_is_faint_in_the_picture():
    found = Map(np.array([[0, 0], [1, 1]], np.float32), np.arange(2), None, ("", ""))
    made = [
        mapped.picture(found, np.array([1, 0]), ["one", "two"], ["#000000", "#ff0000"], shown) for shown in ([], [1])
    ]
    clear, faint = (Image.open(io.BytesIO(each)).getcolors(10_000) for each in made)
    assert {(0, 0, 0), (255, 0, 0)} <= {colour for _, colour in clear}
    assert {(204, 204, 204), (255, 0, 0)} <= {colour for _, colour in faint}
    assert (0, 0, 0) not in {colour for _, colour in faint}
