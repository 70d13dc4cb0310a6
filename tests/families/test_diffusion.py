"""Schedule, noising and steps against diffusers; the samplers against data of known law, with the exact predictor."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from scipy.stats import kstest
from torch import Tensor, nn

from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import Batch, abilities
from genmodels.families.schedules import T, cosine_schedule, signals
from genmodels.training import Images, State, evaluating, place, train

SHAPE = (1, 8, 8)
OBJECTIVES = ("noise", "flow-matching")
COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "epsilon", "clip_sample": True}
MEAN, SPREAD = 0.2, 0.15  # of data that is next to never clipped


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(classes: int = 10, **knobs: Any) -> Any:
    config = FAMILIES["diffusion"].Config.of({"width": 8} | knobs)
    return place(build("diffusion", config, SHAPE, classes), torch.device("cpu")).eval()


class Exact(nn.Module):
    """What the best network says of images whose pixels are N(MEAN, SPREAD²), each alone."""

    def __init__(self, objective: Any) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, noisy: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        alpha, sigma = signals(self.objective, level)
        variance = alpha**2 * SPREAD**2 + sigma**2
        image = MEAN + alpha * SPREAD**2 / variance * (noisy - alpha * MEAN)
        noise = sigma / variance * (noisy - alpha * MEAN)  # (x_t - alpha image) / sigma, also where sigma is 0
        return alpha * noise - sigma * image if self.objective == "noise" else noise - image


class Fixed(nn.Module):
    """Says the same of every image of a class, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.asked = torch.randn(11, *SHAPE, generator=seeded(5)) / 2, []

    def forward(self, noisy: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        self.asked.append((level, labels))
        return self.said[labels]


def exact(objective: str, **knobs: Any) -> Any:
    model = model_of(objective=objective, **knobs)
    model.average = Exact(objective)
    return model


# --- diffusers ------------------------------------------------------------------------------------------------------


def test_the_schedule_is_the_cosine_one() -> None:
    alpha, sigma = cosine_schedule().unbind(1)
    theirs = DDPMScheduler(T, **COSINE).alphas_cumprod
    assert torch.allclose(alpha[1:].square().float(), theirs, atol=1e-6)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(T + 1, dtype=torch.float64))
    assert (alpha[0], sigma[0]) == (1, 0)


def test_noising_is_theirs() -> None:
    model, x = model_of(), torch.rand(4, *SHAPE, generator=seeded(1))
    noise = torch.randn(x.shape, generator=seeded())
    for t in (0, 1, 250, 998, 999):  # their step t leads to t: ours counts the image as 0
        theirs = DDPMScheduler(T, **COSINE).add_noise(2 * x - 1, noise, torch.full((4,), t))
        assert torch.allclose(model.noised(x, (t + 1) / T, seeded()), theirs, atol=1e-5)


@pytest.mark.parametrize("steps", [T, 50])
@pytest.mark.parametrize(("sampler", "kind"), [("ddpm", DDPMScheduler), ("ddim", DDIMScheduler)])
def test_a_step_back_is_theirs(sampler: str, kind: Any, steps: int) -> None:
    model, theirs = model_of(), kind(T, timestep_spacing="trailing", **COSINE)
    model.average, stride = Fixed(), T // steps
    theirs.set_timesteps(steps)
    theirs.alphas_cumprod = (1 - theirs.betas.double()).cumprod(0)  # in float32 a step's beta loses three digits
    x, labels = torch.randn(3, *SHAPE, generator=seeded(1)), torch.tensor([1, 2, 3])
    for number in (1, 2, 10, steps // 2, steps * 9 // 10):  # times the stride: the level that it leads from
        level, to = number * stride / T, (number - 1) * stride / T
        alpha, sigma = model.signal(level)
        noise = sigma * x + alpha * model.average.said[labels]
        clipped = {"use_clipped_model_output": True} if sampler == "ddim" else {}
        wanted = theirs.step(noise, number * stride - 1, x, generator=seeded(7), **clipped)
        moved, image = model.denoise_step(x, level, to, labels, seeded(7), sampler=sampler)
        assert torch.allclose(moved, wanted.prev_sample, atol=1e-5)
        assert torch.allclose(2 * image - 1, wanted.pred_original_sample, atol=1e-5)


# --- data of known law ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "sampler"), [("noise", "ddim"), ("noise", "ddpm"), ("flow-matching", "ddim")])
def test_the_sampler_returns_mean_and_variance_of_the_data(objective: str, sampler: str) -> None:
    model, noise = exact(objective), torch.randn(300, *SHAPE, generator=seeded())
    *_, last = model.denoise_path(noise, generator=seeded(1), steps=T, sampler=sampler)
    assert last.noisy.mean().item() == pytest.approx(MEAN, abs=0.004)
    assert last.noisy.std().item() == pytest.approx(SPREAD, rel=0.02)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_image_becomes_the_noise_that_it_comes_from_and_comes_back(objective: str) -> None:
    """Of this law the code is known: (x - mean) / spread, but for a factor that 20 steps are off by."""
    model, wanted = exact(objective), torch.randn(50, *SHAPE, generator=seeded())
    x = (MEAN + SPREAD * wanted) / 2 + 0.5
    z = model.encode(x)
    assert torch.allclose(z / z.std(), wanted.flatten(1) / wanted.std(), atol=0.05)
    assert z.std().item() == pytest.approx(1, rel=0.25)
    assert (model.decode(z) - x).abs().max() < 0.01


@pytest.mark.parametrize(
    ("knobs", "weight"),
    [
        ({"objective": "flow-matching"}, lambda alpha, sigma: 1),
        ({"objective": "noise"}, lambda alpha, sigma: 1),
        ({"objective": "noise", "plain_loss": True}, lambda alpha, sigma: alpha**2),
    ],
)
def test_the_loss_is_what_the_exact_predictor_cannot_know(knobs: dict[str, Any], weight: Any) -> None:
    """x' is off by a variance of spread² sigma² / (alpha² spread² + sigma²) a pixel, v' by that / sigma² on both ways;
    e' by alpha² / sigma² of it."""
    model = exact(**knobs)
    images = (MEAN + SPREAD * torch.randn(4000, *SHAPE, generator=seeded())) / 2 + 0.5
    found = model.step(Batch(images, torch.zeros(4000).long(), seeded(1), 0), lambda loss, name: None)
    level = torch.arange(1, T + 1) / T
    if model.config.objective == "flow-matching":  # whose levels are logit-normal
        level = torch.distributions.Normal(0, 1).icdf(level - 0.5 / T).sigmoid()
    alpha, sigma = signals(model.config.objective, level)
    rest = weight(alpha, sigma) * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    assert found["squared_error"].item() == pytest.approx(64 * rest.mean().item(), rel=0.01)


# --- guidance and classes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_guidance_leads_from_no_class_to_the_class_and_beyond(objective: str) -> None:
    model, x = model_of(objective=objective), torch.randn(2, *SHAPE, generator=seeded()) / 10
    model.average = fixed = Fixed()
    fixed.said /= 10  # so that nothing is clipped
    labels = torch.tensor([3, 4])

    def step(asked: Tensor | None, guidance: float) -> Tensor:
        return model.denoise_step(x, 0.5, 0.4, asked, guidance=guidance)[0]

    plain, told = step(None, 1), step(labels, 1)
    assert not torch.allclose(plain, told)
    assert torch.allclose(step(labels, 0), plain, atol=1e-6)
    for guidance in (0.5, 1, 2.5):
        assert torch.allclose(step(labels, guidance), plain + guidance * (told - plain), atol=1e-6)
    fixed.asked.clear()
    step(labels, 1)
    assert [asked.tolist() for _, asked in fixed.asked] == [[3, 4]], "plainly conditional: asked once"


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_so_many_labels_are_kept_back_and_all_levels_are_learned(share: float) -> None:
    model, labels = model_of(label_dropout=share).train(), torch.arange(4000) % 10
    model.network = fixed = Fixed()
    model.step(Batch(torch.rand(4000, *SHAPE), labels, seeded(), 0), lambda loss, name: None)
    level, asked = fixed.asked[0]
    assert (asked == 10).float().mean().item() == pytest.approx(share, abs=0.02)
    assert torch.equal(asked[asked < 10], labels[asked < 10])
    assert (T * level).round().unique().tolist() == list(range(1, T + 1))


def test_a_straight_line_is_learned_at_logit_normal_levels() -> None:
    model = model_of(objective="flow-matching").train()
    model.network = fixed = Fixed()
    model.step(Batch(torch.rand(4000, *SHAPE), torch.zeros(4000).long(), seeded(), 0), lambda loss, name: None)
    assert kstest(fixed.asked[0][0].double().logit().numpy(), "norm").statistic < 0.01


def test_without_classes_nothing_can_be_asked_for() -> None:
    assert "conditional" in abilities(model_of())
    model = model_of(classes=1)
    assert "conditional" not in abilities(model)
    assert model.sample(2, generator=seeded()).shape == (2, *SHAPE)


# --- the path -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_path_leads_from_what_is_given_to_the_image_expected_last(objective: str) -> None:
    model, noise = model_of(objective=objective), torch.randn(2, *SHAPE, generator=seeded())
    with torch.no_grad():
        frames = list(model.denoise_path(noise, 0.6, steps=3))
    assert [frame.level for frame in frames] == pytest.approx([0.6, 0.4, 0.2, 0])
    assert torch.equal(frames[0].noisy, noise)
    assert torch.allclose(frames[-1].predicted, frames[-2].predicted), "the last step ends where it said"
    assert torch.equal(frames[-1].noisy / 2 + 0.5, frames[-1].predicted)
    assert all(0 <= frame.predicted.min() <= frame.predicted.max() <= 1 for frame in frames)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"steps": 0}, "at least one step"),
        ({"guidance": 10.5}, "between 0 and 10"),
        ({"guidance": float("nan")}, "between 0 and 10"),
        ({"sampler": "euler"}, "ddim, ddpm"),
        ({"level": 0.0}, "level"),
        ({"level": 1.1}, "level"),
        ({"labels": torch.tensor([10, 0])}, "0 to 9"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        model_of().denoise_path(torch.zeros(2, *SHAPE), **asked)  # at the call, before any frame is taken


def test_flow_matching_has_no_noise_to_put_back() -> None:
    with pytest.raises(UserError, match="there is: ddim"):
        model_of(objective="flow-matching").denoise_path(torch.zeros(2, *SHAPE), sampler="ddpm")


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("level", [-0.1, 1.01, float("nan")])
def test_a_level_beyond_image_and_noise_is_refused_in_a_sentence(objective: str, level: float) -> None:
    model = model_of(objective=objective)
    with pytest.raises(UserError, match="between 0, the image, and 1"):
        model.signal(level)
    with pytest.raises(UserError, match="between 0, the image, and 1"):
        model.noised(torch.zeros(2, *SHAPE), level, seeded())


# --- learning -------------------------------------------------------------------------------------------------------


def test_it_is_sampled_from_with_the_average() -> None:
    model = model_of(steps=2)

    def made() -> Tensor:
        with evaluating(model):
            return model.sample(2, generator=seeded())

    before = made()
    nn.init.normal_(model.network.enter[1].weight)
    assert torch.equal(made(), before)
    model.average.update_parameters(model.network)
    assert not torch.equal(made(), before)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_learns_to_draw_what_it_is_asked_for(objective: str, digits: Images) -> None:
    """Classes are read by the nearest mean of the real ones, which knows nine digits in ten."""
    model = model_of(objective=objective, guidance=2, width=16, steps=10, average=0.98, learning_rate=4e-3)
    for _ in train(model, digits, Schedule(budget=100, unit="steps", precision="float32"), State.new(model, 0)):
        pass
    real = digits.images.flatten(1).float() / 255
    means = torch.stack([real[digits.labels == label].mean(0) for label in range(10)])
    wanted = torch.arange(200) % 10
    with evaluating(model):
        made = model.sample(200, wanted, seeded()).flatten(1)
    assert (torch.cdist(made, means).argmin(1) == wanted).float().mean() > 0.8
