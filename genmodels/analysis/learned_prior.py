"""Where codes lie, learned: a coupling flow on the latent codes of a trained model, in the place of its prior.

A VAE is sampled from N(0, I), but its decoder was taught on draws from q(z) = E_p(x) q(z|x), the marginal posterior,
and the two differ; an autoencoder has no prior at all. A flow p(z), fitted by maximum likelihood to such draws, comes
nearer to q(z): E_q(z)[log p(z)] is higher by as many nats as KL(q(z) || p(z)) has become smaller.

M. Hoffman and M. Johnson (2016), ELBO surgery, http://approximateinference.org/accepted/HoffmanJohnson2016.pdf;
X. Chen et al. (2017), Variational lossy autoencoder, section 3.2, https://arxiv.org/abs/1611.02731 (a flow as a prior);
L. Dinh et al. (2017), Density estimation using Real NVP, https://arxiv.org/abs/1605.08803.
"""

import json
import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from genmodels.analysis.density import Points, Progress, fit, gaussian, mean_log_prob, new_flow
from genmodels.analysis.snapshot import codes
from genmodels.config import UserError
from genmodels.couplings import CouplingFlow
from genmodels.families.contract import latent_size
from genmodels.files import write_atomically

LAYERS, HIDDEN = 8, 128
STEPS = 2000
HELD_OUT, MOST_HELD_OUT = 0.1, 5000  # of the codes
LARGEST = 256  # numbers in a code


@dataclass(frozen=True)
class LearnedPrior:
    """flow: takes codes to N(0, I), and back. mean (L,), root (L, L): of the normal fitted to the codes.

    held_out: codes that nothing was learned from. log_likelihood: their mean under the flow, in nats; normal: under
    what one would have drawn from otherwise, N(0, I) where the model has a posterior, else the fitted normal.
    """

    flow: CouplingFlow
    mean: Tensor
    root: Tensor
    held_out: int
    log_likelihood: float
    normal: float

    def from_flow(self, noise: np.ndarray) -> np.ndarray:
        """Codes by the flow. N(0, I) (N, L) -> float32 (N, L)."""
        with torch.no_grad():
            return self.flow.inverse(torch.from_numpy(noise).float()).numpy()

    def from_normal(self, noise: np.ndarray) -> np.ndarray:
        """Codes by the fitted normal. N(0, I) (N, L) -> float32 (N, L)."""
        return (self.mean + torch.from_numpy(noise).float() @ self.root.T).numpy()


def codes_of(model: Any, images: np.ndarray) -> Points:
    """What is learned from: of uint8 images (N, C, H, W) the posteriors, or the codes where there are none.

    Where encoding is dear, of the first images only. Raises UserError.
    """
    known = codes(model, torch.from_numpy(np.ascontiguousarray(images[: getattr(model, "CODES_AT_MOST", None)])))
    if not all(np.isfinite(each).all() for each in known.values()):
        raise UserError("This run gives codes that are not numbers, so nothing can be learned of them: train it again.")
    deviations = torch.from_numpy(np.exp(known["log_vars"] / 2)) if "log_vars" in known else None
    return Points(torch.from_numpy(known["means"]), deviations)


def learn(points: Points, seed: int = 0, steps: int = STEPS) -> Generator[Progress, None, LearnedPrior]:
    """Fit the flow, telling how far it is. Raises UserError for codes of a single number, or too few of them."""
    learned, others = points.split(min(HELD_OUT, MOST_HELD_OUT / len(points.means)), seed)
    generator = torch.Generator().manual_seed(seed)
    drawn, held_out = learned.drawn(generator), others.drawn(generator)
    flow = new_flow(drawn, LAYERS, HIDDEN, seed)
    yield from fit(flow, learned, held_out, steps=steps, seed=seed)
    normal = fitted = gaussian(drawn)
    if points.deviations is not None:
        normal = MultivariateNormal(torch.zeros(flow.size).double(), torch.eye(flow.size).double())
    return LearnedPrior(
        flow.eval(), fitted.mean.float(), fitted.scale_tril.float(), len(held_out), mean_log_prob(flow, held_out),
        float(normal.log_prob(held_out.double()).mean()),
    )  # fmt: skip


def save(prior: LearnedPrior, path: Path, stamp: int) -> None:
    """Write it; stamp: of the weights of the model that made the codes."""
    from safetensors.torch import save as packed

    tensors = prior.flow.state_dict() | {"normal.mean": prior.mean, "normal.root": prior.root}
    about = {
        "stamp": stamp, "held_out": prior.held_out, "log_likelihood": prior.log_likelihood, "normal": prior.normal
    }  # fmt: skip
    data = packed({name: each.contiguous() for name, each in tensors.items()}, {"about": json.dumps(about)})
    write_atomically(path, lambda file: file.write(data))


def stamp_of(path: Path) -> int | None:
    """The stamp of the weights that it was learned of; None where there is none or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["about"])["stamp"]
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RecursionError):
        return None


def load(path: Path, model: Any, stamp: int | None) -> LearnedPrior | None:
    """The prior of a model whose weights have this stamp, or any; None where there is none. Raises UserError where it
    is damaged or the model has learned since."""
    from safetensors import SafetensorError, safe_open

    flow = CouplingFlow(latent_size(model), LAYERS, HIDDEN)
    wanted = flow.state_dict() | {
        "normal.mean": torch.zeros(flow.size), "normal.root": torch.zeros(flow.size, flow.size)
    }  # fmt: skip
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
        figures = int(about["held_out"]), float(about["log_likelihood"]), float(about["normal"])
        same = all(found[name].shape == each.shape for name, each in wanted.items()) and len(found) == len(wanted)
        whole = same and all(each.dtype == torch.float32 and each.isfinite().all() for each in found.values())
        whole = whole and all(map(math.isfinite, figures))
        current = stamp is None or about["stamp"] == stamp
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RecursionError, OverflowError):
        whole, current, figures = False, True, (0, 0.0, 0.0)
    if not current:
        raise UserError("The run has learned since where its codes lay was learned: learn it again.")
    if not whole:
        raise UserError(f"The file {path.name} is damaged: learn again where the codes lie.")
    mean, root = (found.pop(f"normal.{name}") for name in ("mean", "root"))
    flow.load_state_dict(found)
    return LearnedPrior(flow.eval(), mean, root, *figures)
