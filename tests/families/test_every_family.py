"""The promises of every family in the registry. A new family is tested by its line there."""

import itertools
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import ABILITIES, Batch, abilities, latent_size
from genmodels.nn import set_bfloat16
from genmodels.training import Images, State, evaluating, measure, place, scaled, train

every_family = pytest.mark.parametrize("name", FAMILIES)
SHAPE, CLASSES = (1, 8, 8), 10


def model_of(name: str, shape: tuple[int, int, int] = SHAPE, seed: int = 0, **knobs: Any) -> Any:
    return place(build(name, FAMILIES[name].Config.of(knobs), shape, CLASSES, seed), torch.device("cpu"))


def batch_of(name: str, shape: tuple[int, int, int] = SHAPE, n: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(n, *shape, generator=generator), torch.arange(n) % CLASSES
    if FAMILIES[name].learns_from == "images":
        return Batch(images, labels, generator, 0)
    return Batch(images, labels, generator, 0, 1 - images, labels)


def material(name: str, digits: Images) -> Images:
    """What the family learns from: the digits, for those that translate with their negatives as sources."""
    if FAMILIES[name].learns_from == "images":
        return digits
    aligned = FAMILIES[name].learns_from == "pairs"
    return Images(digits.images, digits.labels, 255 - digits.images, digits.labels, aligned)


def learned(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    """All parameters but those that follow others as their moving average."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def distance_of_what_is_made(model: Any, data: Images) -> float:
    """Frechet distance in pixels between samples, or translations, and the images they should look like."""
    with evaluating(model):
        if "translate" in abilities(model):
            made = model.translate(scaled(data.sources[:500]))
        else:
            made = model.sample(500, generator=torch.Generator().manual_seed(0))
    made, real = (images.flatten(1).double() for images in (made, scaled(data.images)))
    mean, (first, second) = made.mean(0) - real.mean(0), (made.T.cov(), real.T.cov())
    root = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    return (mean.square().sum() + first.trace() + second.trace() - 2 * root).item()


def train_steps(model: Any, digits: Images, steps: int, seed: int = 0) -> list[dict[str, float]]:
    schedule = Schedule(budget=steps, unit="steps", precision="float32")
    found = train(model, digits, schedule, State.new(model, seed))
    return [{name: value.item() for name, value in step.losses.items()} for step in found]


@every_family
def test_losses_are_the_declared_ones_and_it_learns_real_digits(name: str, digits: Images) -> None:
    """Where two networks compete no loss needs to fall: what is made must come nearer to what is real."""
    model, data = model_of(name), material(name, digits)
    compete = "discriminator" in model.LOSSES
    before, far = measure(model, data, 0), distance_of_what_is_made(model, data) if compete else 0.0
    assert sorted(before) == sorted(model.LOSSES)
    train_steps(model, data, 60 if compete else 150)
    main = next(iter(model.LOSSES))
    if compete:
        assert distance_of_what_is_made(model, data) < 0.8 * far
    if not compete or "translate" in abilities(model):
        assert measure(model, data, 150)[main] < 0.8 * before[main]


@every_family
def test_every_parameter_that_learns_gets_a_gradient(name: str) -> None:
    model, seen = model_of(name), set()

    def update(loss: torch.Tensor, optimizer: str) -> None:
        loss.backward(retain_graph=True)
        seen.update(n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0)

    model.step(batch_of(name), update)
    assert seen == {n for n, _ in learned(model)}


@every_family
def test_every_parameter_that_learns_belongs_to_exactly_one_optimizer(name: str) -> None:
    model = model_of(name)
    groups = [group["params"] for optimizer in model.optimizers().values() for group in optimizer.param_groups]
    owned = [id(parameter) for parameter in itertools.chain.from_iterable(groups)]
    assert sorted(owned) == sorted(id(parameter) for _, parameter in learned(model))


@every_family
def test_same_seed_same_result_and_another_seed_another(name: str, digits: Images) -> None:
    data = material(name, digits)
    first, again = (train_steps(model_of(name), data, 5) for _ in range(2))
    other = train_steps(model_of(name, seed=1), data, 5, seed=1)
    assert first == again
    assert first != other


@every_family
def test_saved_and_loaded_gives_the_same_output(name: str, digits: Images) -> None:
    model, other, data = model_of(name), model_of(name, seed=1), material(name, digits)
    train_steps(model, data, 5)
    other.load_state_dict(load(save({key: value.contiguous() for key, value in model.state_dict().items()})))
    assert measure(model, data, 5) == measure(other, data, 5)


@every_family
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 15, 28, 33, 64])
def test_any_size_and_channels(name: str, size: int, channels: int) -> None:
    shape = (channels, size, size)
    model = model_of(name, shape)
    batch = batch_of(name, shape)
    losses = model.step(batch, lambda loss, optimizer: loss.backward())
    assert all(loss.isfinite() for loss in losses.values())
    with evaluating(model):
        for picture in model.views(batch).values():
            assert picture.shape == (4, *shape)
            assert picture.min() >= 0
            assert picture.max() <= 1


def in_range(images: torch.Tensor, n: int, shape: tuple[int, int, int]) -> bool:
    return images.shape == (n, *shape) and 0 <= images.min() <= images.max() <= 1


@every_family
def test_abilities_keep_their_shapes_and_ranges(name: str) -> None:
    shape = (3, 12, 12)
    knobs = {"latent_size": 5} if "latent_size" in FAMILIES[name].Config.model_fields else {}
    model, x = model_of(name, shape, **knobs), batch_of(name, shape).images
    found = abilities(model)
    assert set(found) <= set(ABILITIES)
    with evaluating(model):
        if "encode" in found:
            assert model.encode(x).shape == (4, latent_size(model))
        if "decode" in found:
            assert in_range(model.decode(torch.randn(6, latent_size(model)) * 10), 6, shape)
        if "posterior" in found:
            q = model.posterior(x)
            assert q.mean.shape == q.stddev.shape == (4, 5)
            assert torch.equal(q.mean, model.encode(x))
        if "log_likelihood" in found:
            observed = model.observe(x, torch.Generator().manual_seed(0))
            assert model.log_likelihood(observed, model.posterior(x).mean).shape == (4,)
        if "sample" in found:
            one, two, three = (model.sample(3, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
            assert in_range(one, 3, shape)
            assert torch.equal(one, two)
            assert not torch.equal(one, three)
        if "classify" in found:
            assert model.classify(x).shape == (4, CLASSES)


@every_family
def test_what_is_asked_for_is_obeyed_or_refused(name: str) -> None:
    model, x = model_of(name), batch_of(name).images
    with evaluating(model):
        if "conditional" in abilities(model):
            z, threes = torch.randn(6, latent_size(model)), torch.full((6,), 3)
            for draw in (model.decode, lambda z, labels: model.sample(6, labels, torch.Generator().manual_seed(0))):
                assert in_range(draw(z, threes), 6, SHAPE)
                changed = (draw(z, threes) - draw(z, torch.tensor([3, 3, 3, 4, 5, 6]))).abs().amax((1, 2, 3)) > 1e-4
                assert changed.tolist() == [False] * 3 + [True] * 3
                for wrong in (-1, CLASSES):
                    with pytest.raises(UserError, match="0 to 9"):
                        draw(z, threes + wrong - 3)
        if "translate" in abilities(model):
            assert FAMILIES[name].learns_from != "images"
            for direction in model.DIRECTIONS:
                assert in_range(model.translate(x, direction), 4, SHAPE)
                assert torch.allclose(model.translate(x, direction)[1:2], model.translate(x[1:2], direction), atol=1e-5)
            with pytest.raises(UserError, match="sideways"):
                model.translate(x, "sideways")


@every_family
def test_measuring_changes_nothing(name: str, digits: Images) -> None:
    model = model_of(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    noise = torch.random.get_rng_state()
    measure(model, material(name, digits), 0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(noise, torch.random.get_rng_state())
    assert model.training


@every_family
def test_no_randomness_but_the_generator_passed(name: str) -> None:
    model = model_of(name)
    noise = torch.random.get_rng_state()
    model.step(batch_of(name), lambda loss, optimizer: loss.backward())
    assert torch.equal(noise, torch.random.get_rng_state())


@every_family
def test_bfloat16_leaves_the_losses_where_float32_has_them(name: str) -> None:
    exact = model_of(name).step(batch_of(name, n=256), lambda loss, optimizer: None)
    model = model_of(name).train()
    set_bfloat16(model, True)
    rough = model.step(batch_of(name, n=256), lambda loss, optimizer: None)
    assert any(rough[loss].item() != exact[loss].item() for loss in exact), "bfloat16 was not used"
    for loss in set(exact) - {"accuracy"}:  # a share of images, which jumps where two classes are as likely
        assert rough[loss].item() == pytest.approx(exact[loss].item(), rel=0.01)
        assert rough[loss].dtype == torch.float32


@every_family
@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 65, 65), (2, 28, 28)])
def test_images_it_cannot_hold_are_refused(name: str, shape: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="8 to 64 pixels"):
        model_of(name, shape)


@every_family
def test_every_knob_has_help_and_a_default_within_its_range(name: str) -> None:
    config = FAMILIES[name].Config()
    for knob in type(config).model_fields.values():
        assert knob.description
    assert FAMILIES[name].about.count("https://") >= 1, "the source belongs in the family file"


@every_family
def test_same_model_whatever_was_drawn_before(name: str) -> None:
    torch.manual_seed(1)
    first = model_of(name)
    torch.randn(10)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), model_of(name).parameters(), strict=True))


@every_family
def test_its_shapes_are_known_without_memory_for_it(name: str) -> None:
    """So are weights checked that come from elsewhere."""
    with torch.device("meta"):
        model = build(name, FAMILIES[name].Config(), SHAPE, CLASSES)
    shapes = {key: tensor.shape for key, tensor in model_of(name).state_dict().items()}
    assert {key: tensor.shape for key, tensor in model.state_dict().items()} == shapes
