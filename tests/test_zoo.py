"""What comes with the package: small, without images of a dataset, and good to look into."""

import io
import shutil
import zipfile
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from genmodels import data, debiasing, exchange, experiment, maps, runs, toys
from genmodels.analysis import toy_flow
from genmodels.analysis.density import gaussian, mean_log_prob
from genmodels.analysis.fidelity import l1
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.inside import open_inside
from genmodels.nn import followed
from genmodels.runs import Run
from genmodels.translation import open_translator
from genmodels.zoo.__main__ import BETAS, FLOWS, GREYS, RECIPES, SCARCE, measured, shrink

SHIPPED = runs.shipped_runs()


def can(run: Run) -> list[str]:
    return FAMILIES[run.config.family].abilities


every_run = pytest.mark.parametrize("run", SHIPPED, ids=lambda run: run.id)


def test_every_recipe_is_shipped_and_all_of_it_is_small() -> None:
    assert {run.id for run in SHIPPED} == set(RECIPES)
    assert {path.stem for path in toy_flow.SHIPPED.iterdir()} == {asked.name for asked in FLOWS.values()}
    files = [path for path in runs.ZOO.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 25e6


def test_there_is_one_of_all_that_a_visitor_may_want_to_see() -> None:
    found = {(run.config.family, run.config.dataset, run.config.knobs.get("beta")) for run in SHIPPED}
    of_mnist = ["autoencoder", "conv-autoencoder", "conditional-gan", "vae-gan", "flow", "diffusion"]
    wanted = {(family, "mnist", None) for family in of_mnist} | {("vae", "mnist", beta) for beta in (0.25, 1, 4, 16)}
    wanted |= {("multi-stage-vae", "mnist", 1), ("pix2pix", "edges:mnist", None), ("cyclegan", "inverted:mnist", None)}
    wanted |= {(family, "fashion-mnist", 1) for family in ("vae", "multi-stage-vae")}
    assert wanted | {("diffusion", "fashion-mnist", None), ("vae", "digits", 1), ("vae", "shapes", 2)} <= found


def test_the_betas_are_a_clean_comparison() -> None:
    members = [run.config for run in SHIPPED if run.config.experiment == BETAS]
    assert len(members) == 4
    rest = [config.model_dump(exclude={"created", "knobs"}) | config.knobs | {"beta": None} for config in members]
    assert all(each == rest[0] for each in rest)
    assert len({run.status().step for run in SHIPPED if run.config.experiment == BETAS}) == 1


def test_with_and_without_resampling_differ_in_nothing_else() -> None:
    pairs = debiasing.pairs(debiasing.members(SCARCE))
    assert len(pairs) >= debiasing.FEWEST_SEEDS
    for seed, (without, with_it) in pairs.items():
        one, other = experiment.settings(without), experiment.settings(with_it)
        assert {name for name in one if one[name] != other[name]} == {"resampling"}
        assert without.config.selection.seed == seed


@pytest.mark.parametrize("asked", FLOWS.values(), ids=FLOWS)
def test_a_flow_that_comes_along_is_as_good_as_when_it_was_trained(asked: toy_flow.Asked) -> None:
    found = toy_flow.ready_made(asked)
    learned = mean_log_prob(found.flow, found.held_out)
    assert learned == pytest.approx(max(each.held_out for each in found.seen), abs=1e-2), "its weights are halved"
    assert learned > gaussian(found.taught).log_prob(found.held_out.double()).mean() + 0.5
    assert found.seen[-1].step == toy_flow.STEPS
    assert toys.integral(found.flow, cells=300) == pytest.approx(1, abs=2e-3)
    assert toy_flow.ready_made(asked._replace(seed=1)) is None


@every_run
def test_no_picture_in_it_is_an_image_of_its_dataset(run: Run) -> None:
    here = data.is_present(run.config.dataset)
    assert here or run.config.dataset not in ("digits", "shapes"), "these always are"
    known = images_of(run.config.dataset) if here else set()
    for file in run.path.rglob("*.npz"):
        for name, array in run.arrays(str(file.relative_to(run.path).with_suffix(""))).items():
            if array.ndim > 2:
                assert name in {"samples", "latest", "reconstructions", "predicted", "translations", "cycled"}
                assert not known & coarse(array)


@cache
def images_of(dataset: str) -> set[int]:
    """Of every image of a dataset, on either side where it has two, what `coarse` makes of it."""
    found = data.load(dataset)
    return coarse(found.images) | (set() if found.sources is None else coarse(found.sources))


def coarse(images: np.ndarray) -> set[int]:
    """Hashes of the images as pictures of shipped runs are rounded. uint8 (N, C, H, W)."""
    rounded = np.round(np.arange(256) / 255 * (GREYS - 1)).astype(np.uint8)
    return {hash(each.tobytes()) for each in rounded[images]}


@every_run
def test_it_is_a_finished_run_of_its_recipe_without_images_of_the_dataset(run: Run) -> None:
    recipe, config = RECIPES[run.id], run.config
    assert (config.family, config.dataset, config.experiment) == (recipe.family, recipe.dataset, recipe.experiment)
    assert (config.seed, config.selection) == (recipe.seed, recipe.selection)
    assert FAMILIES[recipe.family].Config.of(recipe.knobs) == config.model_config_of_family()
    assert run.status().state == "finished"
    assert run.metrics()
    assert run.summary()
    for step in run.snapshots():
        assert not {"originals", "inputs", "targets", "noised"} & set(run.arrays(f"snapshots/{step}"))
    assert not (run.path / "resume.pt").exists()
    if run.arrays("latents"):
        found = maps.kept_tsne(inside := open_inside(run))
        assert found is not None, "its map is there at once"
        assert found[1].shape == (len(maps.sample(len(inside.means), maps.View("").taken)), 2)
    weights = load_file(run.path / "weights.safetensors")
    assert not any(tensor.any() for name, tensor in weights.items() if "pools" in name), "nor what was made of them"


# A flow comes without codes: they are images of the dataset in another form.
encoding = pytest.mark.parametrize("run", [run for run in SHIPPED if run.arrays("latents")], ids=lambda run: run.id)


@encoding
def test_one_can_look_into_it_without_its_dataset(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    monkeypatch.setattr("genmodels.data.is_present", lambda name: False)
    inside = open_inside(Run(run.path))
    assert not inside.real
    assert inside.images.shape == (len(inside.means), *run.config.shape)
    if inside.in_noise:
        return
    # Codes of a class are nearer to its centroid than to the others, more often than by chance.
    own = np.linalg.norm(inside.means[:, None] - inside.centroids, axis=2).argmin(1)
    assert (own == inside.labels).mean() > 1.2 / len(inside.classes)


@pytest.mark.parametrize("run", [run for run in SHIPPED if "translate" in can(run)], ids=lambda run: run.id)
def test_it_translates_without_its_dataset(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genmodels.data.is_present", lambda name: False)
    translator = open_translator(Run(run.path))
    assert not translator.real
    for direction, other in (("forward", "back"), ("back", "forward")):
        if direction in translator.directions:
            images, wanted = translator.kinds[direction].images, translator.kinds[other].images
            assert l1(translator.translate(images, direction), wanted).mean() < 0.7 * l1(images, wanted).mean()


@every_run
def test_it_travels_as_a_zip_like_any_run(run: Run, home) -> None:
    archive = home / "run.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(exchange.pack(run))
    with archive.open("rb") as file:
        own = exchange.unpack(file)
    assert own.path.parent == runs.runs_folder()
    assert own.snapshots() == run.snapshots()
    assert all(np.array_equal(own.arrays("latents")[name], each) for name, each in run.arrays("latents").items())


def test_it_cannot_be_deleted() -> None:
    with pytest.raises(UserError, match="comes with the app"):
        SHIPPED[0].delete()


def test_an_own_run_of_the_same_name_comes_first(trained) -> None:
    run = trained("vae")
    renamed = run.path.rename(run.path.with_name(SHIPPED[0].id))
    assert runs.by_id(SHIPPED[0].id).path == renamed


def test_what_is_left_of_a_run_draws_the_same_pictures(trained) -> None:
    run = trained("vae")
    z = np.random.default_rng(0).normal(size=(20, 16))
    before = open_inside(run).decode(z).astype(int)
    means, points = run.arrays("latents")["means"], run.metrics()
    shrink(run)
    after = open_inside(Run(run.path)).decode(z).astype(int)
    assert np.abs(before - after).max() <= 2
    assert np.abs(run.arrays("latents")["means"] - means).max() < means.std(0).max() / 64
    assert run.metrics()[-1]["step"] == points[-1]["step"]
    assert run.metrics()[-1]["train"] == pytest.approx(points[-1]["train"], rel=1e-5)
    assert not (run.path / "resume.pt").exists()


def test_translations_of_training_images_do_not_come_along(trained) -> None:
    run = trained("cyclegan", "inverted:digits", budget=2, width=4, blocks=1)
    before = load_file(run.path / "weights.safetensors")
    pools = [name for name in before if name.endswith((".images", ".filled"))]
    assert len(pools) == 4
    assert all(before[name].any() for name in pools)
    shrink(run)
    after = load_file(run.path / "weights.safetensors")
    assert not any(after[name].any() for name in pools)
    kept = before.keys() - pools - followed(run.model).keys()
    assert kept
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-2) for name in kept)


def test_of_what_has_an_average_only_that_comes_along_and_travels(home) -> None:
    run = next(run for run in SHIPPED if run.config.family == "gan")
    weights, state = load_file(run.path / "weights.safetensors"), run.model.state_dict()
    missing = state.keys() - weights.keys()
    assert missing == {name for name in state if name.startswith("generator.")}
    assert all(torch.equal(state[name], state[name.replace("generator", "average.module")]) for name in missing)
    packed = zipfile.ZipFile(io.BytesIO(exchange.pack(run)))
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for name in packed.namelist():
            whole = packed.read(name)
            few = {key: each for key, each in weights.items() if key != "average.module.0.bias"}
            archive.writestr(name, save(few) if name.endswith("weights.safetensors") else whole)
    with pytest.raises(UserError, match="another model"):
        exchange.unpack(changed.getvalue())


def test_it_can_be_measured_again_and_nothing_else_changes(tmp_path) -> None:
    run = Run(shutil.copytree(runs.ZOO / "vae-digits", tmp_path / "vae-digits"))
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    before = run.summary()
    measured(run)
    found = run.summary()
    assert {path for path in files if path.read_bytes() != files[path]} <= {run.path / "summary.json"}
    assert len(found["kl"]["parts"]) == run.config.knobs["latent_size"]
    assert found["nll"]["value"] == pytest.approx(before["nll"]["value"], rel=1e-2), "its weights are halved"
