"""Debiasing VAE: a VAE with a class head that looks more often at training images whose codes are rare, whatever they
are rare in: nobody has to say which group was forgotten. Minimise, in nats per image,

    class_weight E_q(z|x)[-log p(y|z)] + I(x) (E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || N(0, I))),

where the indicator I(x) is 1 for images that the VAE part learns from and 0 for others; the class term is of all
images [2]. Before each pass over the data but the first every training image is encoded, and image x is drawn, with
replacement, with a probability in proportion to

    W(x) = prod_i 1 / (Q_i(z_i(x)) + smoothing),

Q_i being the histogram density of latent i over the training images: the adaptive resampling of [1]. With a large
smoothing all images are drawn alike, with a small one the oddest alone. The product takes the latents as independent,
so they are first turned to their principal axes, where they are at least uncorrelated; each axis is measured in its
own standard deviations, so that one smoothing fits them all, and one along which no code moves is left out. The first
pass is an ordinary one: an encoder that has learned nothing knows of nothing that it is rare.

[1] A. Amini, A. Soleimany, W. Schwarting, S. Bhatia and D. Rus (2019), Uncovering and mitigating algorithmic bias
    through learned latent structure, https://doi.org/10.1145/3306618.3314243
[2] The exercise that goes with [1] adds the terms as (CE I + VAE) in its published solution, where (CE + I VAE) is
    meant: https://github.com/MITDeepLearning/introtodeeplearning/issues/173
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from genmodels.config import UserError, knob
from genmodels.families import multi_stage_vae
from genmodels.families.contract import Batch, Update
from genmodels.nn import Shape

EVERY = -1  # as `indicator`: all classes
STILL = 0.01  # variance of codes up to which an axis tells nothing of the image


class Config(multi_stage_vae.Config):
    resampling: bool = knob(True, help="Draw images with rare codes more often. Off: every image once in each pass.")
    smoothing: float = knob(
        1.0, 1e-4, 1000, help="How gently: large draws all alike, small draws the rarest alone.", log=True
    )
    bins: int = knob(20, 2, 1000, help="Bins of the histogram of each latent.", advanced=True)
    indicator: int = knob(
        EVERY, EVERY, 999, advanced=True,
        help="The VAE part learns from this class alone, and resamples it, counted from 0; -1: from all classes.",
    )  # fmt: skip


def histogram_density(values: Tensor, bins: int) -> Tensor:
    """The density at each value, per unit of it, by a histogram from the smallest value to the largest. (N,) -> (N,).

    Values that are all the same have density 1.
    """
    low, width = values.min(), (values.max() - values.min()) / bins
    if width == 0:
        return torch.ones_like(values)
    place = ((values - low) / width).long().clamp(max=bins - 1)
    return torch.bincount(place, minlength=bins)[place] / (len(values) * width)


def draw_weights(means: Tensor, smoothing: float, bins: int) -> Tensor:
    """W as above, with sum 1, of the means of q(z|x). (N, L) -> float64 (N,)."""
    centred = means.double() - means.double().mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(means))
    moving = variances > STILL
    log_weights = centred.new_zeros(len(means))
    for values in (centred @ axes[:, moving] / variances[moving].sqrt()).unbind(1):
        log_weights -= (histogram_density(values, bins) + smoothing).log()
    return log_weights.softmax(0)


class Model(multi_stage_vae.Model):
    config: Config

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        if classes < 2:
            raise UserError("A debiasing VAE needs images in two classes or more; this dataset has none: use vae.")
        if config.indicator >= classes:
            raise UserError(f"indicator must be a class from 0 to {classes - 1}, or -1, not {config.indicator}.")
        super().__init__(config, shape, classes)

    def indicator(self, labels: Tensor) -> Tensor:
        """I(x) by the class of x. (N,) -> bool (N,)."""
        which = self.config.indicator
        return torch.ones_like(labels, dtype=torch.bool) if which == EVERY else labels == which

    def draw_weights(self, images: Iterable[Tensor], labels: Tensor) -> Tensor | None:
        """As the contract has it. Those that the VAE part does not learn from are drawn alike, and both kinds as often
        as they are there."""
        if not self.config.resampling:
            return None
        means, chosen = torch.cat([self.encode(each).cpu() for each in images]), self.indicator(labels).cpu()
        if not (chosen.any() and means.isfinite().all()):  # the loss will say that they are no numbers
            return None
        weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
        found = draw_weights(means[chosen], self.config.smoothing, self.config.bins)
        weights[chosen] = found * chosen.double().mean()
        return weights

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        objective, curves, z = self.terms(batch)
        logits = self.classifier(z)
        cross_entropy = F.cross_entropy(logits, batch.labels, reduction="none")
        update((self.class_weight * cross_entropy + self.indicator(batch.labels) * objective).mean(), "vae")
        accuracy = (logits.detach().argmax(1) == batch.labels).float().mean()
        return curves | {"cross_entropy": cross_entropy.detach().mean(), "accuracy": accuracy}
