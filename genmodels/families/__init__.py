"""FAMILIES: every family by its name. To add one: its file, and one line here."""

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from genmodels.config import Config, UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Family:
    """What a menu needs at once; the file with Config and Model (and torch) is imported when first asked for."""

    title: str
    summary: str
    file: str
    learns_from: Literal["images", "pairs", "domains"] = "images"

    @cached_property
    def _module(self) -> Any:
        return import_module(f"genmodels.families.{self.file}")

    @property
    def loaded(self) -> bool:
        """Whether its file has been imported, so that what it knows is there at once."""
        return "_module" in vars(self)

    @property
    def Config(self) -> type[Config]:  # noqa: N802 - it is the class itself
        return self._module.Config

    @property
    def Model(self) -> Any:  # noqa: N802 - it is the class itself
        return self._module.Model

    @property
    def about(self) -> str:
        """The idea, the objective and the paper: the file's docstring."""
        return self._module.__doc__

    @property
    def abilities(self) -> list[str]:
        """What its models can do: some of `contract.ABILITIES`."""
        from genmodels.families.contract import abilities

        return abilities(self.Model)


FAMILIES: dict[str, Family] = {
    "vae": Family("VAE", "learns a smooth map of the data that one can sample from", "vae"),
    "multi-stage-vae": Family("Multi-stage VAE", "a VAE whose codes also tell the class", "multi_stage_vae"),
    "debiasing-vae": Family("Debiasing VAE", "a VAE that looks again at what it has seen least of", "debiasing_vae"),
    "autoencoder": Family("Autoencoder", "squeezes each image into a short code and draws it again", "autoencoder"),
    "conv-autoencoder": Family("Convolutional autoencoder", "the same with convolutions: sharper", "conv_autoencoder"),
    "gan": Family("GAN", "two networks compete: one makes images, one tells them from real ones", "gan"),
    "conditional-gan": Family("Conditional GAN", "a GAN that makes what it is asked for, by class", "conditional_gan"),
    "diffusion": Family("Diffusion", "makes an image out of noise, a little less noise at each step", "diffusion"),
    "vae-gan": Family("VAE-GAN", "a VAE whose copies need not match in pixels but in what a critic sees", "vae_gan"),
    "flow": Family("Normalizing flow", "an invertible network that knows the probability of every image", "flow"),
    "pix2pix": Family("pix2pix", "turns an image into its partner, learned from pairs", "pix2pix", "pairs"),
    "cyclegan": Family("CycleGAN", "turns one kind of image into another, with no pair known", "cyclegan", "domains"),
}


def family(name: str) -> Family:
    """The family of that name, or a UserError that lists them."""
    if name not in FAMILIES:
        raise UserError(f"There is no family '{name}'; there is: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def build(name: str, config: Config, shape: tuple[int, int, int], classes: int, seed: int = 0) -> "nn.Module":
    """A new model with initial weights that depend on the seed alone. Sides from 8 to 64, one or three channels."""
    import torch

    channels, height, width = shape
    if not (8 <= height <= 64 and 8 <= width <= 64) or channels not in (1, 3):
        raise UserError(f"Images must be 8 to 64 pixels wide with 1 or 3 channels, not {height}x{width}x{channels}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family(name).Model(config, shape, classes)
