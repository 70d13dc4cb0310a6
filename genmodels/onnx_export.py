"""A trained decoder or encoder as ONNX, for any runtime that reads it: a browser's, a phone's, another language's.

    decoder   z float32 (N, L), and labels int64 (N,) where the family is told a class  ->  images float32 (N, C, H, W)
    encoder   images float32 (N, C, H, W) in [0, 1]                                     ->  codes float32 (N, L)

N is free. The metadata of the file say which run it is of: family, dataset, classes, and a hash of the weights.
"""

import json
import logging
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any, Literal

from genmodels import demo
from genmodels.config import UserError
from genmodels.families import family
from genmodels.reproduction import fingerprint
from genmodels.runs import Run

Part = Literal["decoder", "encoder"]
PARTS: tuple[Part, ...] = ("decoder", "encoder")
OPSET = 18
NEEDED = "Writing ONNX needs two more packages: pip install onnx onnxscript."
PACKAGE = Path(__file__).parent
PATIENCE, IN_A_DEMO = 600, 120  # seconds
TURN = 10  # seconds to wait until another one is written: whoever waits keeps a thread of the server
LOCK = threading.Lock()  # the exporter keeps what it is at in its modules
APART = "import sys; from genmodels import __main__, worker; worker.step_back(); sys.exit(__main__.main())"


def why_not(run: Run, part: Part = "decoder") -> str | None:
    """Why this part of the run cannot be exported, in one sentence; None where it can."""
    able, title = set(family(run.config.family).abilities), family(run.config.family).title
    if "denoise_path" in able:
        return f"{title} has no {part} in one piece: it goes from noise to image in many steps of one network."
    if part == "decoder" and "decode" not in able:
        return f"{title} has no decoder: what it draws is made of another image, not of a code."
    if part == "encoder" and "encode" not in able:
        return f"{title} has no encoder: it gives no image a code."
    return None


def export(run: Run, part: Part = "decoder") -> bytes:
    """The part as an ONNX file. Raises UserError where the run has none, or a package is missing."""
    if reason := why_not(run, part):
        raise UserError(reason)
    model = run.model
    module, inputs = _decoder(run, model) if part == "decoder" else _encoder(run, model)
    with LOCK:
        proto = _traced(module, inputs, "images" if part == "decoder" else "codes")
    for name, text in described(run, part).items():
        proto.metadata_props.add(key=name, value=text)
    proto.doc_string = f"The {part} of {run.id}, a run of Latent Lab."
    return proto.SerializeToString()


def export_apart(run: Run, part: Part = "decoder") -> bytes:
    """As `export`, in a process of its own: it takes some seconds and half a gigabyte, which a server gets back."""
    if reason := why_not(run, part):
        raise UserError(reason)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        done = _said([sys.executable, "-c", APART, "onnx", str(run.path), "--part", part, "--out", str(file)])
        if done.returncode == 1 and done.stderr and "Traceback" not in done.stderr:
            raise UserError(done.stderr.strip().splitlines()[-1])
        if done.returncode:
            print(done.stderr, file=sys.stderr)  # for who runs the server
            raise UserError(f"Writing the {part} as ONNX failed, perhaps for lack of memory: try again in a moment.")
        return file.read_bytes()


def _said(words: list[str]) -> "subprocess.CompletedProcess[str]":
    """What a process did; one at a time. Raises UserError where that takes too long."""
    if not LOCK.acquire(timeout=TURN):
        raise UserError("Another model is being written as ONNX right now: try again in a moment.")
    patience = IN_A_DEMO if demo.on() else PATIENCE
    try:
        return subprocess.run(words, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise UserError("Writing ONNX took too long: try again when less is at work.") from None
    finally:
        LOCK.release()


def described(run: Run, part: Part) -> dict[str, str]:
    """What the file says of itself."""
    from genmodels.families.contract import abilities, latent_size

    config, model = run.config, run.model
    told = {
        "family": config.family,
        "dataset": config.dataset,
        "run": run.id,
        "part": part,
        "latent_size": str(latent_size(model)),
        "classes": json.dumps(config.classes),
        "weights_sha256": fingerprint(run).rpartition(" ")[2],
        "pixels": "float32 in [0, 1], (N, C, H, W)",
    }
    if "conditional" in abilities(model):
        told["labels"] = "int64 (N,), the place of a class in the list of classes, from 0"
    return told


def _decoder(run: Run, model: Any) -> tuple[Any, dict[str, Any]]:
    """What is traced, and an example of each input. Two rows: one would be taken for a constant."""
    import torch

    from genmodels.families.contract import abilities, latent_size

    inputs = {"z": torch.zeros(2, latent_size(model))}
    if "conditional" in abilities(model):
        inputs["labels"] = torch.zeros(2, dtype=torch.int64)
    return _module(model, "decode"), inputs


def _encoder(run: Run, model: Any) -> tuple[Any, dict[str, Any]]:
    import torch

    return _module(model, "encode"), {"images": torch.zeros(2, *run.config.shape)}


def _module(model: Any, ability: str) -> Any:
    """The ability as what the exporter takes: a module whose `forward` it is."""
    from torch import Tensor, nn

    class Ability(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Tensor) -> Tensor:
            return getattr(self.model, ability)(*inputs)

    return Ability().eval()


def _traced(module: Any, inputs: dict[str, Any], output: str) -> Any:
    """The module as an ONNX model whose first dimensions are free. Raises UserError."""
    import torch

    free = torch.export.Dim("N")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own, of what it is made of
            program = torch.onnx.export(
                module, tuple(inputs.values()), dynamo=True, verbose=False, opset_version=OPSET,
                input_names=list(inputs), output_names=[output], dynamic_shapes=(({0: free},) * len(inputs),),
            )  # fmt: skip
    except ImportError:
        raise UserError(NEEDED) from None
    assert program is not None
    return program.model_proto
