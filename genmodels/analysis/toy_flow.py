"""A flow that learns a set of points in the plane: its training, and those that come with the package."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from genmodels import toys
from genmodels.analysis.density import Points, Progress, fit, new_flow
from genmodels.couplings import CouplingFlow
from genmodels.files import write_atomically

SHIPPED = Path(__file__).parents[1] / "zoo" / "flows"
TAUGHT, HELD_OUT = 20_000, 3000  # points
STEPS, BATCH, RATE = 1500, 512, 5e-3  # of so many points none is learned by heart: all steps are made


class Asked(NamedTuple):
    """Which points, and the flow that learns them; unasked, what the page Flow opens on."""

    name: str = "moons"
    layers: int = 12
    hidden: int = 48
    seed: int = 0


class Trained(NamedTuple):
    """A flow as far as it has come. taught, held_out: points that it learns from, and others, (N, 2). seen: how it
    came, the last of it at its end."""

    flow: CouplingFlow
    taught: Tensor
    held_out: Tensor
    seen: list[Progress]


def trained(asked: Asked) -> Iterator[Trained]:
    """Train it; where it stands, after each look. Raises UserError for an unknown set."""
    taught, others = _points(asked)
    flow, seen = new_flow(taught, asked.layers, asked.hidden, asked.seed), list[Progress]()
    for now in fit(flow, Points(taught), others, steps=STEPS, batch=BATCH, rate=RATE, seed=asked.seed, patience=STEPS):
        seen = [*seen, now]
        yield Trained(copy.deepcopy(flow), taught, others, seen)  # after a stop the flow itself learns a while longer


def keep(found: Trained, asked: Asked) -> None:
    """Let it come with the package: its weights, in half precision, and its curve. The points are made anew."""
    from safetensors.torch import save

    weights = {name: tensor.half().contiguous() for name, tensor in found.flow.state_dict().items()}
    about = json.dumps({"asked": asked._asdict(), "seen": found.seen}, separators=(",", ":"))
    content = save(weights, {"about": about})
    write_atomically(SHIPPED / f"{asked.name}.safetensors", lambda file: file.write(content))


def ready_made(asked: Asked) -> Trained | None:
    """The one that comes with the package and was trained with exactly these settings; None where there is none."""
    from safetensors import safe_open

    path = SHIPPED / f"{asked.name}.safetensors"
    if asked.name not in toys.SETS or not path.exists():
        return None
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        if about["asked"] != asked._asdict():
            return None
        flow = CouplingFlow(2, asked.layers, asked.hidden)
        flow.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118
    return Trained(flow, *_points(asked), [Progress(*each) for each in about["seen"]])


def _points(asked: Asked) -> tuple[Tensor, Tensor]:
    """To learn from, and held out."""
    points = toys.points(asked.name, TAUGHT + HELD_OUT, asked.seed)
    return points[:TAUGHT], points[TAUGHT:]
