"""Samples: the law of truncated noise, what is drawn, and the page: every family, asked well and badly."""

import io
import threading
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from streamlit.testing.v1 import AppTest

from app import priors, samples, ways
from genmodels import data
from genmodels.analysis import learned_prior, sampling
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.media import as_people_write
from tests import test_pages
from tests.test_pages import press, settled, visit

ABLE = [name for name, family in FAMILIES.items() if "sample" in family.abilities]
FEW = {"n": "6", "noises": "2", "frames": "5"}
FILES = {"PNG", "ZIP", "GIF", "MP4", "Pictures", "reproduce.py"}


def words(app: AppTest) -> str:
    """All that is written on the page, as a person reads it."""
    return test_pages.words(app).replace("\\", "")


def grids(app: AppTest) -> list[str]:
    """The grid of the samples and, where there is one, that of the nearest training images."""
    return [each.proto.body for each in app.main.get("html")]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for kept in (
        samples.opened, samples._kept, samples._light, samples._nearest, samples._usual, ways._kept, priors._opened
    ):  # fmt: skip
        kept.clear()


@pytest.mark.parametrize("threshold", [0.3, 1.0, 2.0])
def test_truncated_noise_has_the_law_of_a_truncated_normal(threshold: float):
    z = sampling.noise(500, 20, 3, threshold).ravel()
    assert np.abs(z).max() <= threshold
    assert stats.kstest(z, stats.truncnorm(-threshold, threshold).cdf).pvalue > 0.01
    assert stats.kstest(z, stats.norm.cdf).pvalue < 1e-3


def test_noise_without_a_limit_is_normal_and_one_seed_is_one_noise():
    z = sampling.noise(500, 20, 3)
    assert stats.kstest(z.ravel(), stats.norm.cdf).pvalue > 0.01
    assert np.array_equal(z, sampling.noise(500, 20, 3))
    assert not np.array_equal(z, sampling.noise(500, 20, 4))
    squeezed = sampling.noise(500, 20, 3, 0.5)
    assert np.array_equal(squeezed.ravel().argsort(), z.ravel().argsort()), "the same noise, nearer to the centre"


class Painter(torch.nn.Module):
    """Paints the class over the noise that it draws by itself: a family that has no `decode`."""

    conditional = True

    def sample(self, n: int, labels: torch.Tensor | None = None, generator: torch.Generator | None = None):
        grey = torch.rand(n, generator=generator) / 10
        return (grey + (0 if labels is None else labels / 10)).reshape(n, 1, 1, 1).expand(n, 1, 8, 8)


def test_a_model_without_decode_draws_the_same_noise_in_each_class():
    drawn = sampling.samples(Painter(), 3, 0, [0, 5]).astype(int)
    assert drawn.shape == (2, 3, 1, 8, 8)
    assert np.abs(drawn[1] - drawn[0] - 127.5).max() <= 1
    assert len(np.unique(drawn[0])) == 3


def test_each_class_is_asked_for_with_the_same_noise(trained):
    model = trained("conditional-gan", budget=3).model
    drawn = sampling.samples(model, 3, 1, [7, 2], 0.5)
    z = torch.from_numpy(sampling.noise(3, model.config.latent_size, 1, 0.5))
    with torch.no_grad():
        wanted = model.eval().decode(z, torch.full((3,), 2))
    assert np.abs(drawn[1] / 255 - wanted.numpy()).max() < 1 / 255
    assert not np.array_equal(drawn[0], drawn[1])


def test_images_that_are_not_numbers_are_refused():
    class Broken(Painter):
        def sample(self, n: int, *_: object):
            return torch.full((n, 1, 8, 8), torch.nan)

    with pytest.raises(UserError, match="not numbers"):
        sampling.samples(Broken(), 2, 0)


@pytest.mark.parametrize("family", ABLE)
def test_every_family_that_samples_has_its_page(trained, family: str):
    run = trained(family, budget=3)
    app = settled(visit("samples", run=run.id, **FEW))
    assert not app.exception
    assert not app.error
    conditional = "conditional" in FAMILIES[family].abilities
    count = 20 if conditional else 6
    assert f"{count} samples from seed 0" in words(app)
    grid, near = grids(app)
    assert grid.count("<img") == count
    assert near.count("<img") == 2 * count
    assert "of the training images themselves" in words(app)
    assert ("Class" in [box.label for box in app.selectbox]) == conditional
    assert len(app.get("bidi_component")) == 1
    assert {each.label for each in app.get("download_button")} == FILES


def test_what_takes_many_steps_is_drawn_beside_the_page(trained, monkeypatch):
    run, free, draw = trained("diffusion", budget=3), threading.Event(), sampling.samples
    monkeypatch.setattr(sampling, "samples", lambda *given: free.wait(60) and draw(*given))
    app = visit("samples", run=run.id, **FEW)
    assert app.get("progress")
    assert not grids(app), "nothing of the page waits for it"
    free.set()
    assert grids(settled(app))[0].count("<img") == 20
    assert len(app.get("bidi_component")) == 1


def test_a_training_image_among_the_samples_is_flagged(trained, monkeypatch):
    train = data.load("digits").images[:6]
    monkeypatch.setattr(sampling, "samples", lambda *_: np.concatenate([train[3:4], 255 - train[:5]])[None])
    app = visit("samples", run=trained(budget=2).id, **FEW)
    assert "1 of them is nearer" in words(app)
    _, near = grids(app)
    assert near.count('class="flag"') == 1
    assert "Training image 4, class 3" in near.split("</figure>")[0]
    assert f"{samples.FLAG}1<br>0.0%" in near


def test_seed_class_and_truncation_come_from_the_address_and_go_there(trained):
    run = trained("conditional-gan", budget=3)
    app = visit("samples", run=run.id, seed="5", truncation="0.5", **{"class": "7"}, **FEW)
    assert not app.error
    said = words(app)
    assert "6 samples from seed 5, asked to be 7. No number of the noise is beyond ±0.5" in said
    first = grids(app)[0]
    press(app, "Another")
    assert app.query_params["seed"] not in ("5", ["5"])
    assert grids(app)[0] != first
    next(box for box in app.selectbox if box.label == "Class").set_value(-1).run()
    assert "class" not in app.query_params
    assert "a class in each row" in words(app)
    again = visit("samples", run=run.id, seed="5", truncation="0.5", **{"class": "7"}, **FEW)
    assert grids(again)[0] == first, "a link shows the same"


def test_what_the_address_asks_wrongly_gets_a_sentence(trained):
    wrong = {"seed": "x", "class": "10", "n": "many", "truncation": "9", "first": "99", "path": "round"}
    app = visit("samples", run=trained("conditional-gan", budget=2).id, **FEW | wrong)
    assert not app.exception
    assert not app.error
    for sentence in ("asks for seed x", "asks for class 10", "asks for first 99"):
        assert sentence in words(app)


def test_a_class_is_not_asked_of_a_model_that_knows_none(trained):
    app = visit("samples", run=trained("gan", budget=2).id, **{"class": "3"}, **FEW)
    assert "does not know classes" in words(app)
    assert not app.exception


def test_the_way_between_two_samples_has_them_at_its_ends(trained, monkeypatch):
    made = {}
    monkeypatch.setattr(ways, "sheet_of", lambda frames: made.update(frames=frames) or b"")
    run = trained("conditional-gan", budget=3)
    app = visit("samples", run=run.id, first="2", second="11", **FEW)
    assert not app.error
    assert "The class changes at once, halfway" in words(app)
    z = sampling.noise(2, run.model.config.latent_size, 0)
    wanted = sampling.decoded(run.model, z[[0, 1]], [1, 5])
    shown = samples.draw(run, samples.Asked(2, 0, tuple(range(10)), None))
    assert np.array_equal(shown.images[[2, 11]], wanted), "row by row: class 1 with noise 1, class 5 with noise 2"
    assert np.array_equal(made["frames"][[0, -1]], as_people_write(wanted, shown.light))


def test_a_sample_to_itself_is_said(trained):
    app = visit("samples", run=trained(budget=2).id, first="1", second="1", **FEW)
    assert "both are the same point, so nothing moves" in words(app)
    assert not app.error


def test_the_files_are_what_is_shown(trained, monkeypatch):
    made = {}
    for module in (samples, ways):
        monkeypatch.setattr(
            module.st, "download_button", lambda label, make, name, *_, **__: made.update({label: make()})
        )
    run = trained("gan", budget=3)
    visit("samples", run=run.id, **FEW)
    shown = samples.draw(run, samples.Asked(6, 0, None, None))
    with zipfile.ZipFile(io.BytesIO(made["ZIP"])) as archive:
        assert len(archive.namelist()) == 6
        one = np.asarray(Image.open(io.BytesIO(archive.read("003.png"))))
    assert np.array_equal(one, as_people_write(shown.images, shown.light)[2, 0])
    assert Image.open(io.BytesIO(made["PNG"])).width == 6 * 96 + 5 * 8
    assert Image.open(io.BytesIO(made["GIF"])).n_frames > 1
    assert made["MP4"][4:8] == b"ftyp"


def test_a_run_that_cannot_sample_is_refused_and_another_offered(trained):
    other, run = trained(budget=2), trained("pix2pix", "edges:digits", budget=2)
    app = visit("samples", run=run.id, **FEW)
    assert "cannot make new images" in words(app)
    assert app.query_params["run"] in (other.id, [other.id])
    assert not app.exception


def test_damaged_weights_are_a_sentence(trained):
    run = trained("gan", budget=2)
    (run.path / "weights.safetensors").write_bytes(b"no weights")
    app = visit("samples", run=run.id, **FEW)
    assert "are damaged" in app.error[0].value
    assert not app.exception


def test_a_run_that_was_deleted_meanwhile_is_a_sentence(trained):
    run = trained("gan", budget=2)
    asked = samples.Asked(2, 0, None, None)
    samples.draw(run, asked)
    run.delete()
    with pytest.raises(UserError, match="deleted"):
        samples.draw(run, asked)


def test_what_is_damaged_beside_the_run_costs_only_what_needs_it(trained, monkeypatch):
    def damaged(*_: object) -> None:
        raise UserError("This is damaged.")

    monkeypatch.setattr("app.judges.judge_of", damaged)
    run = trained("gan", budget=2)
    app = visit("samples", run=run.id, **FEW)
    assert not app.error
    assert [each.value for each in app.warning] == ["This is damaged."]
    assert len(app.get("bidi_component")) == 1
    assert len(grids(app)) == 2
    monkeypatch.setattr(data, "load", damaged)
    for kept in (samples._light, samples._nearest):
        kept.clear()
    app = visit("samples", run=run.id, **FEW)
    assert not app.exception
    assert len(grids(app)) == 1


def test_of_many_classes_one_is_drawn_at_a_time(trained, monkeypatch):
    monkeypatch.setattr(samples, "MOST", 9)
    app = visit("samples", run=trained("conditional-gan", budget=2).id, **FEW)
    assert not app.error
    assert "6 samples from seed 0, asked to be 0" in words(app)
    box = next(box for box in app.selectbox if box.label == "Class")
    assert len(box.options) == 10
    box.set_value(7).run()
    assert "asked to be 7" in words(app)


def test_without_the_dataset_there_are_samples_and_no_neighbours(trained, monkeypatch):
    run = trained(budget=2)
    monkeypatch.setattr(data, "is_present", lambda name: False)
    app = visit("samples", run=run.id, **FEW)
    assert not app.exception
    assert not app.error
    assert "6 samples from seed 0" in words(app)
    assert "fetch the dataset on the page Data" in words(app)
    assert len(grids(app)) == 1


# -- a flow that has learned where codes lie


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that is learned in a moment."""
    monkeypatch.setattr(learned_prior, "LAYERS", 2)
    monkeypatch.setattr(learned_prior, "HIDDEN", 16)
    learn = learned_prior.learn
    monkeypatch.setattr(learned_prior, "learn", lambda points: learn(points, steps=20))


def test_an_autoencoder_learns_where_its_codes_lie_and_samples(trained, quick, monkeypatch):
    made = {}
    monkeypatch.setattr(ways, "sheet_of", lambda frames: made.update(frames=frames) or b"")
    run = trained("autoencoder", budget=3)
    app = visit("samples", run=run.id, **FEW)
    assert not app.exception
    assert "An autoencoder says nothing of where its codes lie" in words(app)
    assert not grids(app)
    press(app, "Learn where its codes lie")
    assert not app.exception
    assert not app.error
    assert (run.path / "prior.safetensors").exists()
    assert "6 samples from seed 0, by the learned flow" in words(app)
    assert "144 codes that it did not learn from" in words(app)
    assert "under a normal fitted to the codes" in words(app)
    grid, near = grids(app)
    assert (grid.count("<img"), near.count("<img")) == (6, 12)
    assert {each.label for each in app.get("download_button")} == FILES
    z = priors.learned(run).from_flow(sampling.noise(6, run.model.config.latent_size, 0))
    shown = samples.draw(run, samples.Asked(6, 0, None, None, priors.FLOW))
    assert np.array_equal(shown.images, sampling.decoded(run.model, z))
    assert np.array_equal(made["frames"][[0, -1]], shown.as_people_write[[0, 1]]), "the way has them at its ends"
    fitted = visit("samples", run=run.id, prior="normal", **FEW)
    assert not fitted.error
    assert "by the learned flow" not in words(fitted)
    assert grids(fitted)[0] != grid
    assert grids(visit("samples", run=run.id, **FEW))[0] == grid, "learned once, and kept with the run"


def test_a_vae_has_both_priors_and_the_address_says_which(trained, quick):
    run = trained(budget=3)
    normal = grids(visit("samples", run=run.id, **FEW))[0]
    app = press(visit("samples", run=run.id, prior="flow", **FEW), "Learn where its codes lie")
    assert not app.error
    assert "under the standard normal" in words(app)
    assert grids(app)[0] != normal
    assert grids(visit("samples", run=run.id, **FEW))[0] == normal
    assert not visit("samples", run=run.id, prior="square", **FEW).exception


def test_a_stale_or_damaged_prior_is_said_and_learned_again(trained, quick):
    run = trained("autoencoder", budget=2)
    press(visit("samples", run=run.id, **FEW), "Learn where its codes lie")
    path = run.path / "prior.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    app = visit("samples", run=run.id, **FEW)
    assert "is damaged: learn again" in app.warning[0].value.replace("\\", "")
    assert not app.exception
    app = press(app, "Learn where its codes lie")
    assert not app.warning
    assert len(grids(app)) == 2
    weights = run.path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes())
    app = visit("samples", run=run.id, **FEW)
    assert "has learned since" in app.warning[0].value
    assert not grids(app)


def test_a_prior_of_a_shipped_run_is_kept_beside_the_home_s_maps(trained, quick, monkeypatch, home):
    run = trained("autoencoder", budget=2)
    monkeypatch.setattr(type(run), "shipped", True)
    before = sorted(run.path.iterdir())
    press(visit("samples", run=run.id, **FEW), "Learn where its codes lie")
    assert sorted(run.path.iterdir()) == before
    assert (home / "maps" / run.id / "prior.safetensors").exists()


def test_codes_that_no_flow_can_learn_and_images_that_are_not_here_are_sentences(trained, monkeypatch):
    app = visit("samples", run=trained("autoencoder", budget=2, latent_size=1).id, **FEW)
    assert "choose a run with 2 to 256 latent dimensions" in app.error[0].value
    assert not app.exception
    app = visit("samples", run=trained(budget=2, latent_size=1).id, prior="flow", **FEW)
    assert "6 samples" in words(app), "a VAE has its own prior"
    run = trained("autoencoder", budget=2)
    monkeypatch.setattr(data, "is_present", lambda name: False)
    app = visit("samples", run=run.id, **FEW)
    assert not app.exception
    assert "they are not on this machine" in words(app)
    assert "Learn where its codes lie" not in [button.label for button in app.button]
