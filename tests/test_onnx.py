"""What is exported says in ONNX Runtime what the model says in torch; what cannot be exported says why."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from genmodels import __main__, onnx_export, runs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.families.contract import abilities
from genmodels.reproduction import fingerprint
from genmodels.runs import Run
from tests.conftest import data_for
from tests.soak import IN_SOAK

TINY: dict[str, dict[str, object]] = {"flow": {"couplings": 2, "hidden_size": 8}, "diffusion": {"width": 8}}


def how_it_decodes(family: str) -> tuple[Any, ...]:
    """Families that inherit all of this have the same decoder: one of them stands for the others."""
    return tuple(getattr(FAMILIES[family].Model, name, None) for name in ("decode", "networks"))


DECODING = list(
    {
        how_it_decodes(name): name
        for name in reversed(FAMILIES)
        if "decode" in FAMILIES[name].abilities and name != "diffusion"
    }.values()
)


@pytest.fixture
def initial(new_run: Callable[..., Run]) -> Callable[[str], Run]:
    """A run with the weights that it starts from: what is exported depends on no training."""
    from safetensors.torch import save_file

    def make(family: str) -> Run:
        run = new_run(family, data_for(family), **TINY.get(family, {}))
        save_file(run.config.build().state_dict(), run.path / "weights.safetensors")
        return run

    return make


def inputs_of(run: Run, session: Any, n: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(n)
    shapes = {each.name: each.shape for each in session.get_inputs()}
    assert all(shape[0] == "N" for shape in shapes.values())
    found = {name: generator.random((n, *shape[1:]), np.float32) for name, shape in shapes.items() if name != "labels"}
    return found | ({"labels": np.arange(n) % len(run.config.classes)} if "labels" in shapes else {})


def agrees(run: Run, part: onnx_export.Part) -> dict[str, str]:
    """One image and seven, to 1e-5. -> the metadata."""
    session = onnxruntime.InferenceSession(onnx_export.export(run, part), providers=["CPUExecutionProvider"])
    ability = {"decoder": "decode", "encoder": "encode"}[part]
    for n in (1, 7):
        given = inputs_of(run, session, n)
        with torch.no_grad():
            expected = getattr(run.model, ability)(*map(torch.from_numpy, given.values())).numpy()
        (found,) = session.run(None, given)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-5
    return session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("family", DECODING)
def test_the_decoder_of_every_kind_says_the_same_in_onnx_runtime(family: str, initial: Callable[[str], Run]):
    run = initial(family)
    told = agrees(run, "decoder")
    assert (told["family"], told["dataset"], told["run"]) == (family, "digits", run.id)
    assert json.loads(told["classes"]) == list(run.config.classes)
    assert fingerprint(run).endswith(told["weights_sha256"])
    assert ("labels" in told) == ("conditional" in abilities(run.model))


def test_an_encoder_says_the_same_in_onnx_runtime(initial: Callable[[str], Run]):
    agrees(initial("vae"), "encoder")


@IN_SOAK
def test_apart_it_is_made_too_and_who_cannot_have_it_now_gets_a_sentence(
    initial: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    run = initial("autoencoder")
    monkeypatch.setenv("GENMODELS_DEMO", "1")  # with its bound on memory
    assert onnxruntime.InferenceSession(onnx_export.export_apart(run)).get_inputs()[0].name == "z"
    monkeypatch.setattr(onnx_export, "APART", "import sys; sys.exit('It has no weights.')")
    with pytest.raises(UserError, match="It has no weights"):
        onnx_export.export_apart(run)
    monkeypatch.setattr(onnx_export, "APART", "raise MemoryError('no more')")
    with pytest.raises(UserError, match="failed, perhaps for lack of memory"):
        onnx_export.export_apart(run)
    assert "MemoryError: no more" in capfd.readouterr().err
    monkeypatch.setattr(onnx_export, "TURN", 0.01)
    with onnx_export.LOCK, pytest.raises(UserError, match="right now: try again"):
        onnx_export.export_apart(run)


def test_what_cannot_be_exported_says_why(initial: Callable[[str], Run], capsys: pytest.CaptureFixture[str]):
    for family, part in (("diffusion", "decoder"), ("pix2pix", "decoder"), ("gan", "encoder")):
        run = initial(family)
        with pytest.raises(UserError, match=f"{FAMILIES[family].title} has no {part}"):
            onnx_export.export(run, part)
    assert __main__.main(["onnx", run.id, "--part", "encoder", "--out", str(runs.runs_folder() / "x.onnx")]) == 1
    assert capsys.readouterr().err == f"{onnx_export.why_not(run, 'encoder')}\n"
    assert not (runs.runs_folder() / "x.onnx").exists()
