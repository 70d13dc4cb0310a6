"""The promises of every family in the registry. A new family is tested by its line there."""

import itertools
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import ABILITIES, Batch, abilities
from genmodels.nn import set_bfloat16
from genmodels.training import Images, State, measure, place, train

every_family = pytest.mark.parametrize("name", FAMILIES)
SHAPE, CLASSES = (1, 8, 8), 10


def model_of(name: str, shape: tuple[int, int, int] = SHAPE, seed: int = 0, **knobs: Any) -> Any:
    return place(build(name, FAMILIES[name].Config.of(knobs), shape, CLASSES, seed), torch.device("cpu"))


def batch_of(shape: tuple[int, int, int], n: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(n, *shape, generator=generator), torch.arange(n) % CLASSES, generator, 0)


def train_steps(model: Any, digits: Images, steps: int, seed: int = 0) -> list[dict[str, float]]:
    schedule = Schedule(budget=steps, unit="steps", precision="float32")
    found = train(model, digits, schedule, State.new(model, seed))
    return [{name: value.item() for name, value in step.losses.items()} for step in found]


@every_family
def test_losses_are_the_declared_ones_and_fall_on_real_digits(name: str, digits: Images) -> None:
    model = model_of(name)
    before = measure(model, digits, 0)
    assert list(before) == list(model.LOSSES)
    train_steps(model, digits, 150)
    main = next(iter(model.LOSSES))
    assert measure(model, digits, 150)[main] < 0.8 * before[main]


@every_family
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model, seen = model_of(name), set()

    def update(loss: torch.Tensor, optimizer: str) -> None:
        loss.backward(retain_graph=True)
        seen.update(n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0)

    model.step(batch_of(SHAPE), update)
    assert seen == {n for n, _ in model.named_parameters()}


@every_family
def test_every_parameter_belongs_to_exactly_one_optimizer(name: str) -> None:
    model = model_of(name)
    groups = [group["params"] for optimizer in model.optimizers().values() for group in optimizer.param_groups]
    owned = [id(parameter) for parameter in itertools.chain.from_iterable(groups)]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters())


@every_family
def test_same_seed_same_result_and_another_seed_another(name: str, digits: Images) -> None:
    first, again = (train_steps(model_of(name), digits, 5) for _ in range(2))
    other = train_steps(model_of(name, seed=1), digits, 5, seed=1)
    assert first == again
    assert first != other


@every_family
def test_saved_and_loaded_gives_the_same_output(name: str, digits: Images) -> None:
    model, other = model_of(name), model_of(name, seed=1)
    train_steps(model, digits, 5)
    other.load_state_dict(load(save({key: value.contiguous() for key, value in model.state_dict().items()})))
    assert measure(model, digits, 5) == measure(other, digits, 5)


@every_family
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 15, 28, 33, 64])
def test_any_size_and_channels(name: str, size: int, channels: int) -> None:
    shape = (channels, size, size)
    model = model_of(name, shape)
    batch = batch_of(shape)
    losses = model.step(batch, lambda loss, optimizer: loss.backward())
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        for picture in model.views(batch).values():
            assert picture.shape == (4, *shape)
            assert picture.min() >= 0
            assert picture.max() <= 1


@every_family
def test_abilities_keep_their_shapes_and_ranges(name: str) -> None:
    shape = (3, 12, 12)
    model, x = model_of(name, shape, latent_size=5), batch_of(shape).images
    found = abilities(model)
    assert set(found) <= set(ABILITIES)
    with torch.no_grad():
        if "encode" in found:
            assert model.encode(x).shape == (4, 5)
        if "decode" in found:
            images = model.decode(torch.randn(6, 5) * 10)
            assert images.shape == (6, *shape)
            assert images.min() >= 0
            assert images.max() <= 1
        if "posterior" in found:
            q = model.posterior(x)
            assert q.mean.shape == q.stddev.shape == (4, 5)
            assert torch.equal(q.mean, model.encode(x))
            observed = model.observe(x, torch.Generator().manual_seed(0))
            assert model.log_likelihood(observed, q.mean).shape == (4,)
        if "sample" in found:
            one, two, three = (model.sample(3, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
            assert one.shape == (3, *shape)
            assert torch.equal(one, two)
            assert not torch.equal(one, three)
        if "classify" in found:
            assert model.classify(x).shape == (4, CLASSES)


@every_family
def test_measuring_changes_nothing(name: str, digits: Images) -> None:
    model = model_of(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    noise = torch.random.get_rng_state()
    measure(model, digits, 0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(noise, torch.random.get_rng_state())
    assert model.training


@every_family
def test_no_randomness_but_the_generator_passed(name: str) -> None:
    model = model_of(name)
    noise = torch.random.get_rng_state()
    model.step(batch_of(SHAPE), lambda loss, optimizer: loss.backward())
    assert torch.equal(noise, torch.random.get_rng_state())


@every_family
def test_bfloat16_leaves_the_losses_where_float32_has_them(name: str) -> None:
    batch = batch_of(SHAPE, n=256)
    exact = model_of(name).step(batch, lambda loss, optimizer: None)
    model = model_of(name).train()
    set_bfloat16(model, True)
    rough = model.step(batch_of(SHAPE, n=256), lambda loss, optimizer: None)
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
