"""Multi-stage VAE: a VAE with a second decoder that tells the class from the code, so that the latent space is
arranged by class as well as by looks. Minimise, in nats per image,

    E_q(z|x)[-log p(x|z) - class_weight log p(y|z)] + beta KL(q(z|x) || N(0, I)).

The classifier reads the sampled z while training, and the mean of q(z|x) when it is asked for a class; labels are
never shown to the encoder. Cross-entropy starts at log(classes), about 2.3 nats, beside some 200 nats of
reconstruction: with a weight of 1 the encoder would hardly hear it.

[1] D. Kingma and M. Welling (2014), Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114
[2] D. Kingma et al. (2014), Semi-supervised learning with deep generative models, https://arxiv.org/abs/1406.5298,
    Eq. 9 (the weighted class term beside the bound)
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from genmodels.config import UserError, knob
from genmodels.families import vae
from genmodels.families.contract import Batch, Update
from genmodels.nn import Shape, mlp


class Config(vae.Config):
    class_weight: float = knob(
        50.0, 0, 10_000, help="Weight of the class term beside the reconstruction.", unit="nats per nat", log=True
    )
    head_size: int = knob(128, 8, 2048, help="Width of the classifier's hidden layer.", unit="neurons", advanced=True)


class Model(vae.Model):
    LOSSES: ClassVar = {**vae.Model.LOSSES, "cross_entropy": "nats per image", "accuracy": "share of images"}

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        if classes < 2:
            raise UserError("A multi-stage VAE needs images in two classes or more; this dataset has none: use vae.")
        super().__init__(config, shape, classes)
        self.classifier = mlp(config.latent_size, config.head_size, classes)
        self.class_weight = config.class_weight

    def classify(self, x: Tensor) -> Tensor:
        return self.classifier(self.encode(x))

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        objective, curves, z = self.terms(batch)
        logits = self.classifier(z)
        cross_entropy = F.cross_entropy(logits, batch.labels)
        update(objective.mean() + self.class_weight * cross_entropy, "vae")
        accuracy = (logits.detach().argmax(1) == batch.labels).float().mean()
        return curves | {"cross_entropy": cross_entropy.detach(), "accuracy": accuracy}
