"""A run as one HTML file: map, sliders, traversals, class tour and settings, with its decoder inside.

The file opens in any browser without a server and without a network, which its own policy forbids it. No image of the
dataset is in it: what it shows is decoded where it is read, from the codes of test images.
"""

import contextlib
from functools import lru_cache

from genmodels.config import UserError
from genmodels.decoder import describe, layers_of, products_of, size_of
from genmodels.explorer.contents import in_codes, in_noise
from genmodels.explorer.page import written
from genmodels.families import FAMILIES, family
from genmodels.runs import Run, RunConfig

MOST_BYTES = 10_000_000  # of the whole file: what goes through any mail
MOST_WEIGHTS = 3_000_000  # 6 MB in half precision, 8 MB as text
MOST_PRODUCTS = 40_000_000  # multiplications for one image: some 40 ms in a browser


def build(run: Run, tsne: bool = False) -> bytes:
    """The file of a trained run, UTF-8, under 10 MB. Raises UserError with the reason where there can be none.

    tsne: also place the points by t-SNE where that was not done before; it takes some seconds, and is kept.
    """
    if why := refusal(run.config):
        raise UserError(why)
    decoder = describe(run.model, MOST_WEIGHTS, MOST_PRODUCTS)
    if decoder is None:
        raise UserError(_unknown(run.config))
    about, arrays = in_codes(run, tsne) if "encode" in family(run.config.family).abilities else in_noise(run)
    found = written(run, about, arrays, decoder)
    if len(found) > MOST_BYTES:
        raise UserError(
            f"The file would have {len(found) / 1e6:.1f} MB, and {MOST_BYTES / 1e6:.0f} MB at most go through a mail: "
            "train a smaller model, or send the run as a zip."
        )
    return found


def refusal(config: RunConfig) -> str:
    """Why a run with these settings has no such file, in one sentence with what to do instead; '' where it has one.

    The gallery asks for each card: nothing is computed, and no weights are read.
    """
    return _refusal(config.model_dump_json(), config.family)


@lru_cache(256)
def _refusal(settings: str, name: str) -> str:
    import torch

    able, title = family(name).abilities, FAMILIES[name].title
    if "translate" in able:
        return f"{title} translates images and has no codes to move through: send its run as a zip instead."
    if "denoise_path" in able:
        return f"{title} takes a large network many steps for one image, too many for a file: send a GIF of its path."
    if "decode" not in able:
        return f"{title} has no decoder that a file could run: send the run as a zip."
    config = RunConfig.model_validate_json(settings)
    # Without memory for the weights; but a spectral norm takes seconds so, and networks that have one are small.
    with contextlib.nullcontext() if hasattr(family(name).Model, "averages") else torch.device("meta"):
        try:
            layers = layers_of(config.build())
        except UserError as error:  # settings of which there is no model
            return str(error)
    if not layers:
        return _unknown(config)
    if size_of(layers) > MOST_WEIGHTS:
        return (
            f"The decoder has {size_of(layers) / 1e6:.1f} million weights, and a file that goes through a mail holds "
            f"{MOST_WEIGHTS / 1e6:.0f} million: train one with smaller layers, or send the run as a zip."
        )
    if products_of(layers) > MOST_PRODUCTS:
        return (
            f"The decoder multiplies {products_of(layers) / 1e6:.0f} million numbers for one image, too slow for a "
            "slider in a browser: train a narrower one, or send the run as a zip."
        )
    return ""


def _unknown(config: RunConfig) -> str:
    return (
        f"The network of {FAMILIES[config.family].title} that draws images is not made of plain layers, so a file "
        "cannot run it: send the run as a zip, or pictures of it."
    )
