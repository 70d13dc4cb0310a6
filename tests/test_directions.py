"""Directions are kept with a run, come back to the last bit, travel with its zip, and nothing else is taken for one."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genmodels import exchange, runs
from genmodels.config import UserError
from genmodels.directions import FILE, MOST, directions_of, forget_direction, keep_direction, place
from genmodels.runs import Run


@pytest.fixture
def run(new_run: Callable[..., Run]) -> Run:
    return new_run(latent_size=3)


@pytest.fixture
def shipped(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same run, as if it had come with the package."""
    monkeypatch.setattr(runs, "ZOO", tmp_path / "zoo")
    runs.ZOO.mkdir()
    return Run(run.path.rename(runs.ZOO / run.id))


def test_kept_listed_and_forgotten(run: Run):
    assert directions_of(run) == {}
    third = np.array([1 / 3, -2e-30, 3e30])
    keep_direction(run, "  7   minus 1 ", third)
    keep_direction(run, "größer – dünner", np.array([1, 0, 0]))
    kept = directions_of(Run(run.path))
    assert list(kept) == ["7 minus 1", "größer – dünner"]
    assert kept["7 minus 1"].dtype == np.float32
    assert np.array_equal(kept["7 minus 1"], third.astype(np.float32))
    assert json.loads((run.path / FILE).read_text())["größer – dünner"] == [1, 0, 0]
    forget_direction(run, "7 minus 1")
    forget_direction(run, "7 minus 1")
    assert list(directions_of(run)) == ["größer – dünner"]


@pytest.mark.parametrize(
    ("name", "vector", "words"),
    [
        ("", [1, 0, 0], "name"),
        ("x" * 61, [1, 0, 0], "name"),
        ("a\0b", [1, 0, 0], "name"),
        ("a", [1, 0], "2 numbers; codes of this run have 3"),
        ("a", [0, 0, 0], "zero"),
        ("a", [1, np.nan, 0], "not a number"),
        ("a", [1, np.inf, 0], "not a number"),
        ("taken", [1, 0, 0], "already"),
    ],
)
def test_what_is_no_direction_is_refused_and_nothing_lost(run: Run, name: str, vector: list[float], words: str):
    keep_direction(run, "taken", np.array([0, 0, 1]))
    with pytest.raises(UserError, match=words):
        keep_direction(run, name, np.array(vector, float))
    assert list(directions_of(run)) == ["taken"]


def test_there_is_a_limit(run: Run):
    vector = [1.0, 2.0, 3.0]
    place(run).write_text(json.dumps({f"{number}": vector for number in range(MOST)}))
    with pytest.raises(UserError, match=f"at most {MOST}"):
        keep_direction(run, "one more", np.array(vector))


DAMAGED = {
    "not JSON": b"{",
    "a list": b"[]",
    "no list": b'{"a": 1}',
    "empty": b'{"a": []}',
    "text": b'{"a": [1, 2, "3"]}',
    "true": b'{"a": [1, 2, true]}',
    "nested": b'{"a": [[1, 2, 3]]}',
    "too long": b'{"a": [1, 2, 3, 4]}',
    "too large for float32": b'{"a": [1, 2, 1e39]}',
    "too large for any": b'{"a": [1, 2, 1' + b"0" * 400 + b"]}",
    "infinite": b'{"a": [1, 2, Infinity]}',
    "zero": b'{"a": [0, 0, 0]}',
    "a name with a line": b'{"a\\nb": [1, 2, 3]}',
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_one_sentence_here_and_in_a_zip(run: Run, case: str):
    place(run).write_bytes(DAMAGED[case])
    with pytest.raises(UserError) as error:
        directions_of(run)
    assert "\n" not in str(error.value)
    packed = exchange.pack(run)
    run.delete()
    with pytest.raises(UserError):
        exchange.unpack(packed)
    assert not runs.all_runs()


def test_a_run_that_came_with_the_package_stays_as_it_is(shipped: Run, home: Path):
    keep_direction(shipped, "wider", np.array([0.5, 0, -1]))
    assert not (shipped.path / FILE).exists()
    assert (home / "shipped" / shipped.id / FILE).is_file()
    assert list(directions_of(shipped)) == ["wider"]


@pytest.mark.parametrize("which", ["run", "shipped"])
def test_directions_travel_with_the_zip(which: str, request: pytest.FixtureRequest):
    run = request.getfixturevalue(which)
    keep_direction(run, "wider", np.array([0.1, 0, -1]))
    packed = exchange.pack(run)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert archive.namelist().count(f"{run.id}/{FILE}") == 1
    again = exchange.unpack(packed)
    assert not again.shipped
    assert np.array_equal(directions_of(again)["wider"], np.array([0.1, 0, -1], np.float32))
