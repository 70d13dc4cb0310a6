"""Images without labels: an autoencoder of theirs is trained, kept, found again, and compares samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmodels import data
from genmodels.analysis import features
from genmodels.analysis.features import Settings, Unlabelled, reader_of, train_unlabelled, unlabelled_of
from genmodels.analysis.fidelity import left_out, sample_metrics
from genmodels.analysis.judge import Judge
from genmodels.config import UserError
from genmodels.training import scaled
from tests.analysis.test_fidelity import Sampler

QUICK = Settings(latent_size=4, width=4, hidden_size=16, steps=60, batch_size=32)


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A folder of 300 digits without labels."""
    folder = tmp_path / "own"
    folder.mkdir()
    for number, image in enumerate(data.load("digits").images[:300, 0]):
        Image.fromarray(image).save(folder / f"{number}.png")
    return f"folder:{folder}"


def test_it_learns_is_kept_and_comes_out_the_same(own: str, home: Path) -> None:
    told: list[tuple[float, str]] = []
    assert unlabelled_of(own) is None
    made = train_unlabelled(own, lambda share, text: told.append((share, text)), QUICK)
    assert told[-1][0] == pytest.approx(1)
    assert "no accuracy" in made.facts.words
    assert made.facts.sha256[:8] in made.facts.words
    images = data.load(own).images[:50]
    kept = unlabelled_of(own)
    assert kept.facts == made.facts
    assert np.allclose(kept.features(images), made.features(images), atol=1e-5)
    assert kept.features(images).shape == (50, made.facts.features) == (50, 4)
    untrained = train_unlabelled(own, settings=QUICK.model_copy(update={"steps": 1}))
    assert made.facts.error < 0.9 * untrained.facts.error
    assert train_unlabelled(own, settings=QUICK).facts == made.facts, "the same weights, to the bit"

    (weights,) = (home / "judges").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    features._opened.cache_clear()
    with pytest.raises(UserError, match="damaged"):
        unlabelled_of(own)


def test_who_reads_what(own: str) -> None:
    made = train_unlabelled(own, settings=QUICK)
    assert isinstance(reader_of("digits", data.DATASETS["digits"].classes), Judge)
    assert isinstance(reader_of(own, ()), Unlabelled)
    images = data.load(own).images[:9]
    assert np.allclose(unlabelled_of(f"inverted:{own}").features(255 - images), made.features(images)), "mapped back"
    larger = images.repeat(2, 2).repeat(2, 3).repeat(3, 1)
    assert np.abs(made.features(larger) - made.features(images)).mean() < 0.3 * made.features(images).std()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(Path(own.partition(":")[2]) / "0.png")
    assert unlabelled_of(own) is None, "the images are others now"


def test_samples_are_compared_in_its_features_and_no_class_is_told(own: str) -> None:
    reader, loaded = train_unlabelled(own, settings=QUICK), data.load(own)
    real = Sampler(scaled(torch.from_numpy(loaded.images[loaded.span("train")])))
    found = sample_metrics(real, own, loaded, 30)
    assert set(found) == {"frechet_distance", "kernel_distance", "sharpness", "memorised"}
    assert reader.facts.words in found["frechet_distance"].unit
    assert len(found["frechet_distance"].unit) <= 100
    assert sample_metrics(Sampler(torch.rand(9, 1, 8, 8)), own, loaded, 30)["frechet_distance"].value > (
        5 * found["frechet_distance"].value
    )
    told = left_out(real, loaded, 30, reader)
    assert "no classes" in told["class_histogram"]
    assert "too few" in told["precision"]
