"""The state of a game in words, from curves made by hand; and how a snapshot counts what is read."""

import numpy as np
import pytest
import torch

from genmodels import data
from genmodels.analysis.balance import EARLY, RECENT, balance, listed, missing
from genmodels.analysis.judge import judge_of
from genmodels.analysis.snapshot import READ, SAMPLES, fixed_samples, snapshot
from genmodels.families import FAMILIES, build
from genmodels.training import Images

CLASSES = tuple("0123456789")
EVEN = np.full(10, 50)


def played(real, fake, count=RECENT, last=5000):
    return [
        {"step": last - 100 * (count - 1 - i), "train": {"d_real": real, "d_fake": fake, "generator": 1.0}}
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (0.99, 0.01, "discriminator is too strong"),
        (0.7, 0.3, "In balance"),
        (0.5, 0.52, "cannot tell them apart"),
        (0.7, 0.75, "generator is ahead"),
        (0.99, 0.5, "In balance"),
        (0.3, 0.5, "discriminator is mostly wrong"),
    ],
)
def test_who_is_ahead(real, fake, words):
    (told,) = balance(played(real, fake))
    assert words in told
    assert f"{real:.2f}" in told
    assert f"{fake:.2f}" in told


def test_one_moment_is_not_a_stretch():
    points = played(0.6, 0.4, 30) + played(0.999, 0.001, RECENT - 1, 6000)
    assert "too strong" not in balance(points)[0]
    assert "too strong" in balance(points + played(0.999, 0.001, 1, 6100))[0]


def test_too_early_and_no_game():
    assert balance(played(0.99, 0.01, RECENT, EARLY - 1), EVEN, CLASSES) == [balance(played(0.99, 0.01, 1))[0]]
    assert "too early" in balance(played(0.99, 0.01, RECENT - 1))[0]
    assert balance([]) == balance([{"step": 9, "train": {"kl": 1.0}}]) == []


def test_collapse_is_told_by_the_classes():
    points = played(0.7, 0.3)
    assert balance(points, EVEN, CLASSES)[1] == "Of 500 samples all 10 classes have their share."
    counts = np.array([0, 50, 50, 50, 4, 50, 50, 50, 50, 146])
    told = balance(points, counts, CLASSES)[1]
    assert "collapsed" in told
    assert "0 and 4 are missing" in told
    assert "29% read as 9" in told
    crowded = balance(points, np.array([50] * 8 + [30, 150]), CLASSES)[1]
    assert "repeats itself" in crowded
    assert "26% read as 9" in crowded
    rare = np.array([0.001] + [0.111] * 9)
    assert "have their share" in balance(points, np.array([1] + [56] * 9), CLASSES, rare)[1]
    assert missing(np.array([0.0, 0.1, 0.9]), np.array([0.0, 0.5, 0.5])) == [], "no real ones, none missed"


def test_words_in_a_row():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def made(name):
    loaded = data.load("digits")
    return build(name, FAMILIES[name].Config(), loaded.shape, 10, 0), Images.of(loaded, "test"), loaded


def test_a_kept_snapshot_counts_how_samples_read():
    model, test, loaded = made("gan")
    judge = judge_of("digits", loaded.classes)
    live, kept = snapshot(model, test, 1), snapshot(model, test, 1, judge)
    assert set(kept) - set(live) == {"read_as"}
    assert kept["read_as"].shape == (10,)
    assert kept["read_as"].sum() == READ
    assert kept["read_as"].dtype == np.int64
    assert all(np.array_equal(live[name], kept[name]) for name in live), "the noise of the others is the same"
    assert np.array_equal(kept["read_as"], snapshot(model, test, 9, judge)["read_as"])
    assert "read_as" not in snapshot(*made("vae")[:2], 1, judge), "it plays no game"


def test_samples_of_a_conditional_model_are_class_by_noise():
    model = made("conditional-gan")[0].eval()
    with torch.no_grad():
        seen = fixed_samples(model, torch.Generator().manual_seed(0))
        noise = torch.randn(SAMPLES, model.config.latent_size, generator=torch.Generator().manual_seed(0))
        expected = model.decode(noise[[3]], torch.tensor([7]))
    assert len(seen) == SAMPLES
    assert torch.allclose(seen[37], expected[0], atol=1e-5), "row 3, column 7"
