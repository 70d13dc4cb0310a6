"""A run travels as one zip and comes back the same; whatever else is in a zip is refused with one sentence."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from genmodels import exchange
from genmodels.analysis import learned_prior
from genmodels.analysis.density import Points
from genmodels.config import UserError
from genmodels.families.contract import latent_size
from genmodels.runs import Run, Status, all_runs, runs_folder
from tests.analysis.test_learned_prior import done


@pytest.fixture
def run(trained: Callable[..., Run]) -> Run:
    return trained(budget=3, log_every=1, hidden_size=8)


def files_of(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes], prefix: str = "some-run/") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return buffer.getvalue()


def nothing_was_written(home: Path, runs: int) -> bool:
    return len(all_runs()) == len(list(runs_folder().iterdir())) == runs and not list(home.glob(".import-*"))


def test_there_and_back(run: Run):
    packed = exchange.pack(run)
    names = files_of(packed)
    assert "resume.pt" not in names
    assert {"config.json", "status.json", "metrics.jsonl", "weights.safetensors", "latents.npz", "summary.json"} <= set(
        names
    )
    before = {name: run.arrays(name) for name in ("latents", "live", "snapshots/1")}
    figures, points, x = run.summary(), run.metrics(), torch.rand(2, 1, 8, 8)
    codes = run.model.encode(x)
    run.delete()
    again = exchange.unpack(packed)
    assert again.id == run.id
    assert again.config == run.config
    assert again.status().state == "finished"
    assert again.metrics() == points
    assert again.summary() == figures
    assert torch.equal(again.model.encode(x), codes)
    for name, arrays in before.items():
        for key, array in arrays.items():
            assert np.array_equal(again.arrays(name)[key], array)


@pytest.mark.parametrize(
    ("family", "dataset"), [("gan", "digits"), ("pix2pix", "edges:digits"), ("cyclegan", "inverted:digits")]
)
def test_a_run_of_each_kind_of_data_comes_back_the_same(family: str, dataset: str, trained: Callable[..., Run]):
    run = trained(family, dataset, budget=3, log_every=1, batch_size=32, width=4)
    arrays = ["latents", "live", *(f"snapshots/{step}" for step in run.snapshots())]
    before = {name: run.arrays(name) for name in arrays}
    assert any("translations" in found or "samples" in found for found in before.values())
    figures, points, weights = run.summary(), run.metrics(), run.model.state_dict()
    packed = exchange.pack(run)
    run.delete()
    again = exchange.unpack(packed)
    assert (again.config, again.metrics(), again.summary()) == (run.config, points, figures)
    assert {name: [*found] for name, found in before.items()} == {name: [*again.arrays(name)] for name in arrays}
    assert all(np.array_equal(again.arrays(name)[key], a) for name, found in before.items() for key, a in found.items())
    assert all(torch.equal(again.model.state_dict()[key], tensor) for key, tensor in weights.items())


def test_where_its_codes_lie_travels_and_belongs_to_the_weights_that_travel_with_it(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(learned_prior, "LAYERS", 2)
    path, size = run.path / exchange.PRIOR, latent_size(run.model)
    prior = done(learned_prior.learn(Points(torch.randn(100, size)), steps=1))
    learned_prior.save(prior, path, run.stamp)
    packed, noise = exchange.pack(run), np.ones((2, size), np.float32)
    again = exchange.unpack(packed)
    assert again.stamp != run.stamp
    back = learned_prior.load(again.path / exchange.PRIOR, again.model, again.stamp)
    assert back is not None
    assert np.array_equal(back.from_flow(noise), prior.from_flow(noise))

    files = files_of(packed)
    other = done(learned_prior.learn(Points(torch.randn(100, size + 1)), steps=1))
    prior.mean[0] = torch.nan
    for wrong in (other, prior):
        learned_prior.save(wrong, path, run.stamp)
        with pytest.raises(UserError, match=r"prior.safetensors in the archive is damaged"):
            exchange.unpack(zipped(files | {exchange.PRIOR: path.read_bytes()}))
    with pytest.raises(UserError, match=r"prior.safetensors in the archive is damaged"):
        exchange.unpack(zipped(files | {exchange.PRIOR: b"no tensors"}))
    assert nothing_was_written(home, 2)

    learned_prior.save(other, path, run.stamp - 1)
    assert exchange.PRIOR not in files_of(exchange.pack(run)), "of weights that the run no longer has"


def test_a_taken_id_becomes_a_new_one(run: Run):
    again = exchange.unpack(exchange.pack(run))
    assert again.id != run.id
    assert again.id.startswith(run.id)
    assert len(all_runs()) == 2


def test_what_was_at_work_arrives_stopped(run: Run):
    run.write_status(Status(state="paused", pid=1, step=3))
    again = exchange.unpack(exchange.pack(run))
    assert (again.status().state, again.status().pid) == ("stopped", None)


def edit(name: str, change: Callable[[dict], object]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def changed(files: dict[str, bytes]) -> dict[str, bytes]:
        value = json.loads(files[name])
        change(value)
        return {**files, name: json.dumps(value).encode()}

    return changed


def put(name: str, content: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {**files, name: content}


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {key: content for key, content in files.items() if key != name}


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


def npz_that_claims(shape: str) -> bytes:
    """A header of a vast array over a few bytes."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64
    return zipped({"samples.npy": content}, "")


def point(**changed: object) -> bytes:
    told = {"step": 1, "seconds": 0.1, "images_per_second": 1.0, "train": {"negative_elbo": 1.0}}
    return json.dumps(told | changed).encode() + b"\n"


HOSTILE = {
    "no config": (without("config.json"), "no config.json"),
    "no status": (without("status.json"), "no status.json"),
    "config is a list": (put("config.json", b"[]"), "config.json"),
    "config is deep": (put("config.json", b"[" * 100_000), "config.json"),
    "unknown family": (edit("config.json", lambda v: v.update(family="os")), "family"),
    "unknown knob": (edit("config.json", lambda v: v["knobs"].update(shell="rm")), "no knob 'shell'"),
    "knob out of range": (edit("config.json", lambda v: v["knobs"].update(latent_size=10**9)), "latent_size"),
    "unknown field": (edit("config.json", lambda v: v.update(more=1)), "config.json"),
    "vast image": (edit("config.json", lambda v: v.update(shape=[1, 10**6, 10**6])), "damaged or not what it should"),
    "many classes": (edit("config.json", lambda v: v.update(classes=["x"] * 2000)), "too many"),
    "state unknown": (edit("status.json", lambda v: v.update(state="pwned")), "status.json"),
    "summary with text": (edit("summary.json", lambda v: v.update(kl={"value": "x"})), "summary.json"),
    "summary with a name": (edit("summary.json", lambda v: v.update({"<b>": v["kl"]})), "summary.json"),
    "metrics not JSON": (put("metrics.jsonl", b"{\n"), "Line 1"),
    "metrics of another family": (put("metrics.jsonl", point(train={"x": 1})), "Line 1"),
    "metrics not a number": (put("metrics.jsonl", point(seconds=float("nan"))), "Line 1"),
    "metrics back in time": (put("metrics.jsonl", point() * 2), "Line 2"),
    "pickle in npz": (put("live.npz", npz(samples=np.array([{}], object))), "live.npz"),
    "array claims a terabyte": (put("live.npz", npz_that_claims("(1000000, 1, 1000, 1000)")), "live.npz"),
    "array claims too little": (put("live.npz", npz_that_claims("(2, 1, 64, 64)")), "live.npz"),
    "array of a negative size": (put("live.npz", npz_that_claims("(-1, 1, 8, 8)")), "live.npz"),
    "array with code in its header": (put("live.npz", npz_that_claims("__import__('os')")), "live.npz"),
    "array of a wrong kind": (put("live.npz", npz(samples=np.zeros((2, 1, 8, 8), np.float32))), "live.npz"),
    "array of a wrong shape": (put("snapshots/1.npz", npz(kl=np.zeros((2, 2), np.float32))), "snapshots/1.npz"),
    "rows that do not match": (
        put("snapshots/1.npz", npz(inputs=np.zeros((2, 1, 8, 8), np.uint8), targets=np.zeros((1, 1, 8, 8), np.uint8))),
        "snapshots/1.npz",
    ),
    "npz is not a zip": (put("latents.npz", b"latents"), "latents.npz"),
    "status beyond its end": (edit("status.json", lambda v: v.update(share=2.0)), "status.json"),
    "status of a vast step": (edit("status.json", lambda v: v.update(step=10**400)), "status.json"),
    "more steps than any training": (edit("status.json", lambda v: v.update(step=2**40)), "status.json"),
    "metrics without an end": (put("metrics.jsonl", b"{}\n" * 100_001), "over 100,000 lines"),
    "more codes than a test set": (put("latents.npz", npz(labels=np.zeros(60_000, np.int64))), "latents.npz"),
    "more rows than a test set": (put("latents.npz", npz(means=np.zeros((60_000, 2), np.float32))), "latents.npz"),
    "codes of another length": (put("latents.npz", npz(means=np.zeros((2, 3), np.float32))), "latents.npz"),
    "a class that there is not": (put("snapshots/1.npz", npz(labels=np.array([0, 10]))), "snapshots/1.npz"),
    "weights much too large": (put("weights.safetensors", bytes(3 * exchange.MB)), "another model"),
    "weights are a pickle": (put("weights.safetensors", b"\x80\x04."), "weights"),
    "weights of another model": (put("weights.safetensors", save({"x": torch.zeros(2)})), "another model"),
    "resume.pt": (put("resume.pt", b""), "no part of a run"),
    "a script": (put("evil.py", b""), "no part of a run"),
    "an early snapshot": (put("snapshots/../../x.npz", b""), "leads out of it"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_each_damaged_file_is_refused(case: str, run: Run, home: Path):
    change, words = HOSTILE[case]
    packed = zipped(change(files_of(exchange.pack(run))))
    with pytest.raises(UserError, match=words) as error:
        exchange.unpack(packed)
    assert "\n" not in str(error.value)
    assert nothing_was_written(home, 1)


def link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("some-run/live.npz")
    info.external_attr = 0o120777 << 16
    archive.writestr(info, "/etc/passwd")


def million(archive: zipfile.ZipFile) -> None:
    for number in range(60_000):
        archive.writestr(zipfile.ZipInfo(f"{number}"), b"")


ARCHIVES: dict[str, Callable[[zipfile.ZipFile], object]] = {
    "absolute path": lambda archive: archive.writestr("/etc/cron.d/x", b"x"),
    "parent path": lambda archive: archive.writestr("../../x", b"x"),
    "drive": lambda archive: archive.writestr("C:/x", b"x"),
    "link": link,
    "bomb": lambda archive: archive.writestr("some-run/metrics.jsonl", b"\0" * 60_000_000),
    "very many files": million,
    "empty": lambda archive: None,
    "the same name twice": lambda archive: [archive.writestr("config.json", b"{}") for _ in range(2)],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", ARCHIVES)
def test_each_hostile_archive_is_refused(case: str, home: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        ARCHIVES[case](archive)
    with pytest.raises(UserError) as error:
        exchange.unpack(buffer.getvalue())
    assert "\n" not in str(error.value)
    assert not home.exists()


def encrypted(packed: bytes) -> bytes:
    """The flag alone is enough: it is looked at before the content."""
    place = packed.index(b"PK\1\2") + 8
    return packed[:place] + b"\1" + packed[place + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not a zip" * 9, encrypted, lambda b: b[:-1]]
)
def test_half_an_archive_is_refused(damage: Callable[[bytes], bytes], run: Run, home: Path):
    with pytest.raises(UserError):
        exchange.unpack(damage(exchange.pack(run)))
    assert nothing_was_written(home, 1)
