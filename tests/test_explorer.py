"""The one-file explorer without a browser: what it holds, how large it is, whom it refuses, and what cannot hurt."""

import base64
import copy
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from genmodels import explorer, maps
from genmodels.__main__ import main
from genmodels.config import UserError
from genmodels.decoder import describe
from genmodels.families import FAMILIES, build
from genmodels.inside import open_inside
from genmodels.runs import Run, RunConfig, by_id
from tests.conftest import SMALL
from tests.test_pages import Trained, visit, words

HOSTILE = "</script><img src=x onerror=alert(1)>"
KINDS = {"f4": "<f4", "u4": "<u4", "u2": "<u2", "u1": "u1"}


class Elements(HTMLParser):
    """What a browser makes of the file: its elements, the policy, the text of the JSON."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.policy = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""


def message(page: bytes) -> dict:
    """What the script of the file reads."""
    found = re.search(rb'<script type="application/octet-stream" id="data">([A-Za-z0-9+/=]+)</script>', page)
    assert found
    whole = base64.b64decode(found[1])
    length = int.from_bytes(whole[:4], "little")
    about = json.loads(whole[4 : 4 + length])
    for name, (kind, start, size) in about["arrays"].items():
        about[name] = np.frombuffer(whole[4 + length + start :][:size], KINDS[kind])
    return about


def imported(home: Path, **changes: object) -> Run:
    """A copy of a run that comes with the package, changed as one that was imported may be."""
    folder = home / "runs" / "imported"
    shutil.copytree(by_id("vae-digits").path, folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return Run(folder)


def test_the_file_holds_the_codes_the_decoder_and_the_settings():
    run = by_id("vae-digits")
    page, inside = explorer.build(run), open_inside(run)
    found, decoder = message(page), describe(run.model)
    assert decoder is not None
    assert len(page) < 2.67 * decoder.weights.size + 400_000
    codes = found["codes"].view("<f2").reshape(-1, 8)
    np.testing.assert_allclose(codes, inside.means[found["ids"]], atol=2e-3)
    np.testing.assert_array_equal(found["labels"], inside.labels[found["ids"]])
    plane = np.array(found["maps"][0]["plane"])
    points = found["points0"].reshape(-1, 2)
    np.testing.assert_allclose((codes - plane[:, 0]) @ plane[:, 1:], points, atol=2e-2)
    np.testing.assert_allclose(found["centroids"], inside.centroids, rtol=1e-5)
    assert [slider["index"] for slider in found["sliders"]] == inside.order.tolist()
    assert found["decoder"].tobytes() == decoder.halved()
    text = page.decode()
    assert "VAE on Digits" in text
    assert json.dumps(run.config.knobs, indent=1).replace("\n", "\n ").replace('"', "&quot;") in text
    assert f"{run.summary()['negative_elbo']['n']:,}" in text


def test_half_precision_changes_no_picture_that_one_sees():
    model = copy.deepcopy(by_id("vae-digits").model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1.0003  # what comes with the package is kept in half precision already
    decoder = describe(model)
    assert decoder is not None
    halves = decoder.weights.astype("<f2").astype("<f4")
    np.testing.assert_allclose(halves, decoder.weights, rtol=2**-11, atol=2**-25)
    z = 2 * torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.decode(z)
        for parameter in model.decoder.parameters():
            parameter.copy_(parameter.half().float())
        assert 255 * (model.decode(z) - expected).abs().max() < 2


def test_nothing_in_it_can_reach_out_or_be_added(home: Path):
    run = imported(
        home, classes=[HOSTILE] * 2 + [f'"{k}&' for k in range(8)], dataset=f"folder:/no/{HOSTILE}",
        versions={HOSTILE: HOSTILE},
    )  # fmt: skip
    elements = Elements(explorer.build(run))
    assert {tag: elements.tags.count(tag) for tag in ("script", "style", "img", "link", "iframe")} == {
        "script": 2, "style": 3, "img": 0, "link": 0, "iframe": 0,
    }  # fmt: skip
    assert not [name for name in elements.attributes if name.startswith("on") or name in ("src", "href")]
    rules = dict(rule.split(" ", 1) for rule in elements.policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in elements.policy
    assert "connect-src" not in rules, "the default forbids it"


def test_a_run_of_noise_has_sliders_and_no_map(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("genmodels.explorer.contents.TRIED", 1)
    found = message(explorer.build(by_id("conditional-gan-mnist")))
    assert found["asked"]
    assert found["classes"] == [str(k) for k in range(10)]
    assert found["maps"] == found["centroids"] == []
    assert not message(explorer.build(by_id("gan-mnist")))["asked"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_one_or_says_why_not(name: str):
    knobs = FAMILIES[name].Config.of(SMALL.get(name, {})).model_dump()
    classes = tuple("0123456789")
    why = explorer.refusal(RunConfig(family=name, knobs=knobs, dataset="digits", shape=(1, 8, 8), classes=classes))
    model = build(name, FAMILIES[name].Config.of(knobs), (1, 8, 8), 10).eval()
    assert bool(why) == (describe(model) is None)
    assert not why or re.fullmatch(r"\w.*: .*(send|train) .*\.", why)


@pytest.mark.parametrize(
    ("knobs", "why"),
    [
        ({"hidden_size": 2048, "layers": 2}, "million weights"),
        ({"body": "conv", "width": 64, "hidden_size": 8}, "million numbers for one image"),
    ],
)
def test_a_decoder_too_large_for_a_mail_is_refused(knobs: dict, why: str, tmp_path: Path, capsys, home: Path):
    config = RunConfig(family="vae", knobs=knobs, dataset="celeba", shape=(3, 64, 64), classes=("all",))
    assert why in explorer.refusal(config)
    run = imported(home, knobs=knobs, shape=[3, 64, 64])
    assert main(["explorer", str(run.path), "--out", str(tmp_path / "x.html")]) == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_from_the_shell(tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]):
    run = imported(home)
    out = tmp_path / "mine.html"
    assert main(["explorer", run.id, "--out", str(out)]) == 0
    assert out.read_bytes() == explorer.build(run)
    assert "MB" in capsys.readouterr().err
    assert main(["explorer", run.id, "--out", "/nowhere/x.html"]) == 1
    (run.path / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="no weights yet"):
        explorer.build(Run(run.path))


def test_a_map_by_neighbours_comes_along_where_it_was_kept(home: Path):
    run = imported(home)
    inside = open_inside(run)
    assert [each["name"] for each in message(explorer.build(run))["maps"]] == ["PCA", "t-SNE"], "the ready-made one"
    for path in run.path.glob("tsne-*"):
        path.unlink()
    assert [each["name"] for each in message(explorer.build(run))["maps"]] == ["PCA"]
    ids = maps.sample(len(inside.means), 100)
    points = np.arange(200, dtype=np.float32).reshape(100, 2)
    run.write_arrays("tsne-100-30-0", {"points": points, "stamp": np.array(maps.stamp(inside))})
    run.write_arrays("tsne-50-10-0", {"points": points[:50], "stamp": np.array("of other codes")})
    found = message(explorer.build(run))
    assert [each["name"] for each in found["maps"]] == ["PCA", "t-SNE"]
    np.testing.assert_array_equal(found["ids"], ids)
    np.testing.assert_array_equal(found["points1"].reshape(-1, 2), points)


def test_a_code_of_one_number_has_a_map_as_well(trained: Trained):
    found = message(explorer.build(trained(budget=2, latent_size=1)))
    assert found["maps"][0]["axes"] == ["latent dimension 1", "class"]


def test_a_page_offers_it_or_says_why_there_is_none(home: Path, monkeypatch: pytest.MonkeyPatch):
    run = imported(home)
    app = visit("perturbation", run=run.id)
    assert not app.exception
    assert "One-file explorer (HTML)" in [button.label for button in app.get("download_button")]
    monkeypatch.setattr(explorer, "refusal", lambda config: "No decoder: send a zip.")
    assert r"No one-file explorer: No decoder\: send a zip." in words(app.run())
