"""The U-Net: what it is told is heard, and sizes that cannot be halved are padded and cropped."""

import pytest
import torch
import torch.nn.functional as F

from genmodels.unet import UNet, sinusoids


def unet(*shape: int, classes: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(shape, 8, classes)  # type: ignore[arg-type]


@torch.no_grad()
def test_level_and_class_are_heard_and_each_image_is_read_alone() -> None:
    net, x = unet(1, 8, 8), torch.rand(4, 1, 8, 8)
    x[1:] = x[0]
    made = net(x, torch.tensor([0.1, 0.1, 0.9, 0.1]), torch.tensor([0, 0, 0, 1]))
    assert torch.allclose(made[0], made[1], atol=1e-5)
    assert (made[2:] - made[0]).abs().amax((1, 2, 3)).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize(("size", "padded"), [(9, 12), (15, 16), (33, 40)])
def test_sizes_that_cannot_be_halved_are_padded_and_cropped(size: int, padded: int) -> None:
    net, x = unet(3, size, size), torch.rand(2, 3, size, size)
    level, labels, room = torch.rand(2), torch.tensor([0, 2]), padded - size
    whole = net(F.pad(x, (0, room, 0, room), mode="replicate"), level, labels)
    assert torch.allclose(net(x, level, labels), whole[..., :size, :size], atol=1e-5)


def test_two_levels_are_never_told_alike() -> None:
    told = sinusoids(torch.arange(1001) / 1000, 16)
    assert told.shape == (1001, 16)
    assert torch.pdist(told).min() > 1e-2
