"""The hosted demo: visitors who never meet, and spaces that end."""

import errno
import io
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import game, visitor
from genmodels import demo, directions, exchange, hosting, jobs, runs
from genmodels.analysis import judge
from genmodels.config import UserError
from genmodels.data import cache, intake, is_present, load, title
from genmodels.data.folders import listing
from genmodels.demo import give_way
from genmodels.files import disk_errors, home, in_space, shared_home, space_folder
from genmodels.runs import Status, all_runs, by_id
from tests.test_pages import press, visit, words
from tests.test_routes import ask
from tests.visitors import NOBODY, aged, finish, kept, pictures, visit_as

pytestmark = pytest.mark.usefixtures("as_demo")


# --- spaces ---------------------------------------------------------------------------------------------------------


def test_visitors_have_nothing_in_common_but_what_comes_with_the_app(ada: str, bob: str, new_run) -> None:
    with in_space(ada):
        run = new_run()
        assert [each.id for each in all_runs()] == [run.id]
        shipped = runs.shipped_runs()[0]
        directions.keep_direction(by_id("vae-digits"), "mine", np.ones(by_id("vae-digits").config.knobs["latent_size"]))
    shutil.copytree(run.path, shared_home() / "runs" / "of-the-host")
    with in_space(bob):
        assert all_runs() == []
        assert by_id(shipped.id).shipped
        assert not directions.directions_of(by_id("vae-digits"))
        for name in (run.id, "of-the-host", str(run.path), f"../../{ada}/runs/{run.id}"):
            with pytest.raises(UserError, match="There is no run"):
                by_id(name)


def test_who_is_nobody_has_nothing_and_no_space_is_made_by_asking(ada: str) -> None:
    for key in (None, NOBODY, "..", "../spaces/" + ada, ada.upper(), ada + "/", ada + "\n", ""):
        assert not demo.enter(key or "")
        with in_space(key), pytest.raises(UserError):
            all_runs()
    assert [each.name for each in demo.spaces()] == [ada]
    (space_folder(NOBODY)).symlink_to(space_folder(ada))
    assert not demo.enter(NOBODY)


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="of Linux")
@pytest.mark.parametrize("on", [True, False])
def test_what_trains_gives_way_to_the_server(on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENMODELS_DEMO", str(int(on)))
    if (child := os.fork()) == 0:
        right = False
        try:
            before = os.nice(0)
            give_way()
            right = os.sched_getscheduler(0) == os.SCHED_IDLE if on else os.nice(0) > before
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_outside_of_a_demo_there_are_no_spaces(ada: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENMODELS_DEMO")
    with in_space(ada):
        assert home() == shared_home()


def test_what_is_learned_of_own_images_stays_in_the_space_and_the_rest_is_prepared_once(ada: str, bob: str) -> None:
    name = kept(ada, pictures(1))
    with in_space(ada):
        load(name)
        load("digits")
        assert space_folder(ada) in cache.folder_of("folder-x").parents
        assert judge.kept_in(name) == space_folder(ada) / "judges"
    assert judge.kept_in("digits") == shared_home() / "judges"
    with in_space(bob):
        assert not is_present(name)
    assert [each.name.split("-")[0] for each in (shared_home() / "cache").glob("[!.]*")] == ["digits"]
    assert len(list((space_folder(ada) / "cache").glob("[!.]*"))) == 1


def test_no_folder_of_the_server_is_a_dataset(ada: str, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    with in_space(ada):
        for name in (f"folder:{tmp_path}", f"pairs:{tmp_path}", "folder:~", "folder:../own"):
            assert not is_present(name)
            with pytest.raises(UserError):
                load(name)
        with pytest.raises(UserError, match="demo"):
            intake.examine(str(tmp_path))


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_the_same_zip_and_the_same_title_give_two_visitors_different_names(ada: str, bob: str, new_run) -> None:
    with in_space(ada):
        packed = exchange.pack(new_run())
    imported = []
    for key in (ada, bob):
        with in_space(key):
            imported.append(exchange.unpack(packed).id)
    names = [kept(ada, pictures(1)), kept(bob, pictures(9))]
    assert len({*imported}) == len({*names}) == 2
    with in_space(ada):
        assert title(names[0]) == title(names[1]) == "cats"
        with pytest.raises(UserError, match="already a dataset 'cats'"):
            kept(ada, pictures(2))


def test_no_visitor_gets_the_other_s_pictures_from_memory(ada: str, bob: str) -> None:
    names = {key: kept(key, pictures(shade)) for key, shade in ((ada, 1), (bob, 9))}
    seen = {}
    for key, name in names.items():
        app = visit_as(key, "data", data=name)
        assert not app.exception
        assert not app.error
        seen[key] = [url for each in app.image for url in each.value]
    assert seen[ada]
    assert not set(seen[ada]) & set(seen[bob])
    config = runs.RunConfig(family="vae", dataset=names[ada], shape=(1, 8, 8))
    for key in (ada, bob):
        with in_space(key):
            assert (game.expected(config)[0] is not None) == (key == ada)
    app = visit_as(bob, "data", data=names[ada])  # he has heard of it
    assert not app.image
    assert "no folder" in words(app)


# --- pages and routes -----------------------------------------------------------------------------------------------


def test_a_page_keeps_its_visitor_on_every_way(ada: str, bob: str, new_run) -> None:
    with in_space(ada):
        run = new_run()
    app = visit_as(ada, "gallery")
    assert run.id.rsplit("-", 1)[-1] in words(app)
    assert run.id.rsplit("-", 1)[-1] not in words(visit_as(bob, "gallery"))
    app.query_params.clear()  # as Streamlit does on some ways to another page
    app.run()
    assert app.query_params["space"] in (ada, [ada])
    assert run.id.rsplit("-", 1)[-1] in words(app)
    assert "There is no run" in words(visit_as(bob, "train", run=run.id))
    next(box for box in app.checkbox if box.key == f"pick-{run.id}").check().run()  # a callback, before the page
    assert app.query_params["compare"] in (run.id, [run.id])


def test_a_view_of_what_is_ready_made_has_a_link_without_the_key(ada: str, new_run) -> None:
    app = press(visit_as(ada, "train", run="vae-digits", **{"curves-x": "seconds"}), "Link without the key")
    assert app.code[0].value.endswith("?run=vae-digits&curves-x=seconds")
    with in_space(ada):
        own = new_run().id
        for shown in ({"runs": f"vae-digits,{own}"}, {"experiment": own}, {"data": "edges:folder:x"}, {"along": "a:1"}):
            assert visitor.shows_own({name: [value] for name, value in shown.items()})
        assert not visitor.shows_own({"runs": ["vae-digits,vae-mnist"], "experiment": [], "second": ["domains:a,b"]})
    app = press(visit_as(ada, "train", run=own), "Link without the key")
    assert not app.code
    assert "only the address with the key" in words(app)


def test_a_new_visitor_gets_a_space_and_a_lost_key_is_said(ada: str) -> None:
    app = visit("gallery")
    key = app.session_state["space"]
    assert key != ada
    assert space_folder(key).is_dir()
    app = visit_as(NOBODY, "gallery")
    assert "expired" in words(app)
    assert app.session_state["space"] not in (NOBODY, key)
    assert not app.exception


def test_the_page_warns_before_the_end(ada: str, new_run, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_space(ada):
        new_run()
    assert "removed in" not in words(visit_as(ada, "gallery"))
    monkeypatch.setenv("GENMODELS_DEMO_HOURS", "0.4")
    assert "it is removed in" in words(visit_as(ada, "gallery"))


def test_routes_know_the_runs_of_one_space_alone(ada: str, bob: str, trained) -> None:
    with in_space(ada):
        run = trained("vae")
    assert ask("GET", f"/s/{ada}/api/images/{run.id}", "ids=0")[0] == 200
    for path in (f"/s/{bob}/api/images/{run.id}", f"/s/{NOBODY}/api/images/{run.id}", f"/api/images/{run.id}"):
        status, found = ask("GET", path, "ids=0")
        assert (status, found[-1:]) == (400, b".")
    assert ask("GET", f"/s/{bob}/api/images/vae-digits", "ids=0")[0] == 200
    assert ask("GET", "/api/images/vae-digits", "ids=0")[0] == 400


# --- the end --------------------------------------------------------------------------------------------------------


def test_what_has_expired_is_removed_and_nothing_else(ada: str, bob: str, new_run, tmp_path: Path, called) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    with in_space(ada):
        run = new_run()
        (home() / "link").symlink_to(outside)
    with in_space(bob):
        new_run()
    (shared_home() / "spaces" / NOBODY).symlink_to(outside)
    aged(ada, 5)
    aged(bob, 5)
    hosting.sweep()
    assert len(demo.spaces()) == 2
    aged(ada, 7)
    with in_space(ada):
        jobs.start(run)  # from a page that is still open
    hosting.sweep()
    assert run.wish == "stop"  # its worker saves and ends; then the space goes
    assert space_folder(ada).is_dir()
    finish(run)
    hosting.sweep()
    assert [each.name for each in demo.spaces()] == [bob]
    assert (outside / "file").exists()
    assert not list((shared_home() / "spaces").glob(".gone-*"))
    with in_space(ada), pytest.raises(UserError, match="expired"):
        new_run()
    with pytest.raises(UserError, match="no space"):
        demo.remove(outside)


def test_an_empty_space_ends_sooner_and_a_clock_that_is_set_ends_none(ada: str, bob: str, monkeypatch) -> None:
    with in_space(bob):  # has nothing but a name for a direction
        shipped = by_id("vae-digits")
        directions.keep_direction(shipped, "mine", np.ones(shipped.config.knobs["latent_size"]))
    aged(ada, 2)
    aged(bob, 2)
    hosting.sweep()
    assert [each.name for each in demo.spaces()] == [bob]
    assert not demo.enter(ada)
    aged(bob, 100)
    monkeypatch.setattr(hosting, "_clocks", (time.time() - 3600 * 98, time.monotonic()))
    hosting.sweep()
    assert demo.enter(bob)


def test_everything_of_one_s_own_can_be_taken_along(ada: str, bob: str, new_run) -> None:
    name = kept(ada, pictures(1)).removeprefix("folder:")
    with in_space(ada):
        run, shipped = new_run(), by_id("vae-digits")
        directions.keep_direction(shipped, "mine", np.ones(shipped.config.knobs["latent_size"]))
        packed = hosting.everything()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        assert {f"datasets/{name}/000000.png", "shipped/vae-digits/directions.json"} <= set(names)
        with in_space(bob):
            assert exchange.unpack(archive.read(f"runs/{run.id}.zip")).config == run.config
            brought, left_out = hosting.bring(io.BytesIO(packed))
            assert [each.config for each in brought] == [run.config]
            assert "datasets" in left_out


def test_all_that_was_taken_along_comes_back_within_the_bounds(ada: str, bob: str, new_run, monkeypatch) -> None:
    with in_space(ada):
        made = [new_run(seed=seed) for seed in range(3)]
        packed = hosting.everything()
    app = visit_as(bob, "gallery")
    app.get("file_uploader")[0].set_value(("latent-lab.zip", packed, "application/zip")).run()
    assert "3 runs were imported." in words(app)
    with in_space(bob):
        for each in all_runs():
            each.delete()
        brought, left_out = hosting.bring(io.BytesIO(packed))
        assert {each.config.seed for each in brought} == {each.config.seed for each in made}
        assert not left_out
        assert [each.config for each in hosting.bring(io.BytesIO(exchange.pack(made[0])))[0]] == [made[0].config]
        monkeypatch.setenv("GENMODELS_DEMO_RUNS", "6")
        brought, left_out = hosting.bring(io.BytesIO(packed))
        assert (len(brought), len(all_runs())) == (2, 6)
        assert left_out.startswith("1 of 3 runs were not imported: This demo keeps 6 runs")
        with pytest.raises(UserError, match="keeps 6 runs"):
            hosting.bring(io.BytesIO(packed))
        monkeypatch.setattr(hosting, "MOST_RUNS", 2)
        with pytest.raises(UserError, match="more than 2 runs"):
            hosting.bring(io.BytesIO(packed))
        monkeypatch.setattr(hosting, "MOST_RUNS", 3)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("runs/a.zip", bytes(10_000))
        with pytest.raises(UserError, match="too large"):
            hosting.bring(buffer)
        monkeypatch.setenv("GENMODELS_DEMO_UPLOAD", "0")
        with pytest.raises(UserError, match=r"upload must be|it may have"):
            hosting.bring(io.BytesIO(packed))


def test_everything_is_taken_along_by_one_at_a_time(ada: str, monkeypatch) -> None:
    monkeypatch.setattr(hosting, "PATIENCE", 0)
    with in_space(ada):
        with hosting._one_at_a_time, pytest.raises(UserError, match="try again"):
            hosting.everything()
        assert hosting.everything()


def test_no_sentence_and_no_file_of_a_run_tells_the_key(ada: str, new_run, monkeypatch) -> None:
    told = []

    def tried(what: Callable[[], object]) -> None:
        with pytest.raises(UserError) as caught:
            what()
        told.append(str(caught.value))

    def refused() -> None:
        with disk_errors("your run"):
            raise PermissionError(errno.EACCES, "no", str(home() / "runs"))

    with in_space(ada):
        (home() / "own").mkdir()
        (home() / "own" / "cats").touch()
        run = new_run()
        tried(refused)
        for each in ("gone", "cats"):
            tried(partial(load, f"folder:{each}"))
        tried(lambda: listing(home() / "gone"))
        monkeypatch.setattr(cache, "_read", lambda folder: None)
        monkeypatch.setattr(cache, "_build", lambda *_: None)
        tried(lambda: cache.prepared("folder-x", lambda: None, lambda *_: None))
        (run.path / "log.txt").write_text(f"FileNotFoundError: '{home()}/own/cats/1.png'\n")
        run.write_status(Status(state="running", pid=1, heartbeat=0))
        told += [str(run.status().error), words(visit_as(ada, "train", run=run.id))]
        with zipfile.ZipFile(io.BytesIO(exchange.pack(run))) as archive:
            told += [archive.read(each).decode("latin-1") for each in archive.namelist()]
    assert "ended unexpectedly" in told[5]
    assert not [each for each in told if "cats/1.png" in each]  # no log for strangers
    assert not [each for each in told if ada in each or "spaces" in each]


def test_prepared_datasets_that_nobody_reads_make_room(ada: str) -> None:
    with in_space(ada):
        load("digits")
        load("digits", 16)
        old, new = sorted((shared_home() / "cache").glob("[!.]*"), key=lambda each: "16x1" in each.name)
        os.utime(old / cache.INFO, (1, 1))
        cache.trim(demo.size_of(new) + 10)
        assert new.is_dir()
        assert not old.exists()
