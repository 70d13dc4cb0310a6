"""The autoencoder's error in closed form, and against principal component analysis with a code of the same size."""

import pytest
import torch
from sklearn.decomposition import PCA

from genmodels.analysis.metrics import evaluate
from genmodels.config import Schedule
from genmodels.families import FAMILIES, autoencoder, build
from genmodels.training import Images, State, train


def test_squared_error_sums_over_pixels() -> None:
    x, x_hat = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5)
    assert autoencoder.squared_error(x, x_hat).tolist() == [3 * 64 * 0.25] * 2


@pytest.mark.parametrize(("name", "steps"), [("autoencoder", 400), ("conv-autoencoder", 900)])
def test_it_beats_principal_components(name: str, steps: int, digits: Images) -> None:
    model = build(name, FAMILIES[name].Config(latent_size=6), (1, 8, 8), 10)
    for _ in train(model, digits, Schedule(budget=steps, unit="steps"), State.new(model, 0)):
        pass
    flat = (digits.images.flatten(1) / 255).numpy()
    pca = PCA(6).fit(flat)
    linear = ((pca.inverse_transform(pca.transform(flat)) - flat) ** 2).mean()
    assert evaluate(model, digits)["reconstruction_error"].value < 0.8 * linear
