"""The command line: python -m genmodels train | again | betas | resume | sample | evaluate | ...: see --help."""

import argparse
import json
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmodels.config import Config, Schedule, UserError
from genmodels.files import disk_errors

if TYPE_CHECKING:
    from genmodels.analysis.metrics import Metric
    from genmodels.data import Dataset
    from genmodels.runs import Run

FIGURES = (
    "floor: what real images score in the place of the model's, or what the unit says. It is no limit: where images "
    "are few it varies with the choice, and a model can score better. n: images or samples that the figure is of. "
    "hash: which judge, a fixed classifier, or which autoencoder where there are no labels, read the images; compare "
    "values only where it is the same. What this run or its data cannot have is listed at the end, with the reason."
)
ARROWS = {"lower": "↓ lower", "higher": "↑ higher", "neither": "· neither"}
PARTS = 12  # of a figure that are printed; of more the largest


def parser() -> argparse.ArgumentParser:
    from genmodels.data import DATASETS
    from genmodels.families import FAMILIES

    top = argparse.ArgumentParser(prog="python -m genmodels", description="Train generative models on images.")
    commands = top.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train a new run")
    train.add_argument("family", metavar="FAMILY", help=", ".join(FAMILIES))
    train.add_argument("data", metavar="DATA", help=", ".join(DATASETS) + " or folder:PATH")
    train.add_argument("--set", metavar="KNOB=VALUE", nargs="+", action="extend", default=[], help="see `families`")
    budget = train.add_mutually_exclusive_group()
    for unit in ("epochs", "steps", "minutes"):
        budget.add_argument(f"--{unit}", type=float, metavar="N")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--size", type=int, help="side of the images in pixels, 8 to 64 (default: the dataset's)")
    train.add_argument("--channels", type=int, choices=(1, 3), help="1 grey, 3 colour (default: the dataset's)")
    train.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: a new one in the home)")

    copies(commands)
    files(commands)
    resume = commands.add_parser("resume", help="go on with a stopped run")
    sample = commands.add_parser("sample", help="write new images as one PNG")
    sample.add_argument("--count", type=int, default=64)
    sample.add_argument("--out", type=Path, required=True, metavar="FILE")
    sample.add_argument("--seed", type=int, default=0)
    evaluate = commands.add_parser("evaluate", help="final figures of a run on its test images", epilog=FIGURES)
    evaluate.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    evaluate.add_argument("--draws", type=int, default=500, help="draws per image for the NLL (default 500)")
    evaluate.add_argument("--images", type=int, default=1000, help="test images for the NLL (default 1000)")
    evaluate.add_argument("--samples", type=int, default=10_000, help="samples that are made (default 10000)")
    for command in (resume, sample, evaluate):
        command.add_argument("run", metavar="RUN", help="its id, or the path of its folder")

    commands.add_parser("runs", help="list the runs")
    commands.add_parser("families", help="list the families with their knobs")
    datasets = commands.add_parser("datasets", help="list the datasets, or download one")
    datasets.add_argument("--download", metavar="NAME")
    return top


def copies(commands: Any) -> None:
    """The commands that train copies of a run."""
    again = commands.add_parser("again", help="train a copy of a run: its settings, its seed, and how it was steered")
    betas = commands.add_parser(
        "betas", help="train copies of a run under several betas, and nothing else that differs"
    )
    for command in (again, betas):
        command.add_argument("run", metavar="RUN", help="its id, or the path of its folder")
    again.add_argument("--out", type=Path, metavar="DIR", help="folder of the copy (default: a new one in the home)")
    betas.add_argument("betas", metavar="BETAS", help="such as 0.25,1,4,16")
    budget = betas.add_mutually_exclusive_group(required=True)
    for unit in ("steps", "epochs"):
        budget.add_argument(f"--{unit}", type=float, metavar="N")


def files(commands: Any) -> None:
    """The commands that write something of a run for use elsewhere."""
    onnx = commands.add_parser("onnx", help="write the decoder or the encoder of a run as ONNX")
    onnx.add_argument("--part", choices=("decoder", "encoder"), default="decoder")
    reproduce = commands.add_parser("reproduce", help="write the script that trains a run again and compares")
    explorer = commands.add_parser("explorer", help="write a run as one HTML file to look into, which works offline")
    explorer.add_argument("--tsne", action="store_true", help="with a map by t-SNE too, which takes some seconds")
    for command in (onnx, reproduce, explorer):
        command.add_argument("run", metavar="RUN", help="its id, or the path of its folder")
        command.add_argument("--out", type=Path, required=True, metavar="FILE")


def train(arguments: argparse.Namespace) -> None:
    from genmodels import data, jobs, runs
    from genmodels.families import family

    words = [word.partition("=") for word in arguments.set]
    if bad := [name for name, equals, _ in words if not equals]:
        raise UserError(f"'{bad[0]}' sets nothing: write --set KNOB=VALUE.")
    values = {name: value for name, _, value in words}
    chosen: dict[str, Any] = {name: values.pop(name) for name in list(values) if name in Schedule.model_fields}
    for unit in ("epochs", "steps", "minutes"):
        if (amount := getattr(arguments, unit)) is not None:
            chosen |= {"budget": amount, "unit": unit}
    knobs, schedule = family(arguments.family).Config.of(values), Schedule.of(chosen)
    if arguments.seed < 0:
        raise UserError(f"--seed must be 0 or more, not {arguments.seed}.")
    dataset = data.load(arguments.data, arguments.size, arguments.channels, arguments.seed)
    config = runs.RunConfig.of(
        {
            "family": arguments.family,
            "knobs": knobs.model_dump(),
            "dataset": arguments.data,
            "size": arguments.size,
            "channels": arguments.channels,
            "seed": arguments.seed,
            "schedule": schedule,
            "shape": dataset.shape,
            "classes": dataset.classes,
        }
    )
    run = runs.create(config, arguments.out and arguments.out.absolute())
    jobs.start(run)
    follow(run)


def again(arguments: argparse.Namespace) -> None:
    from genmodels import jobs, runs, steering

    run = runs.find(arguments.run)
    kept = run.config.model_dump(exclude={"created", "versions", "experiment"})
    copy = runs.create(runs.RunConfig.of(kept | {"parent": run.id}), arguments.out and arguments.out.absolute())
    if turns := steering.record(run):
        steering.replace(copy, turns)
    jobs.start(copy)
    follow(copy)


def betas(arguments: argparse.Namespace) -> None:
    from genmodels import experiment, runs

    run = runs.find(arguments.run)
    unit = "epochs" if arguments.steps is None else "steps"
    amount = {"budget": getattr(arguments, unit), "unit": unit}
    schedule = Schedule.of({**run.config.schedule.model_dump(), **amount})
    chosen = experiment.betas_of(arguments.betas, run.config.family)
    made = experiment.start(experiment.plan(run.config, chosen, schedule, run.id))
    for member in made:
        follow(member)
    for row in experiment.confounders(experiment.labelled(made)):
        print(f"confounded by {row.pop('setting')}: {row}", file=sys.stderr)
    for label, member in experiment.labelled(made).items():
        found = ", ".join(f"{name} {value:.2f}" for name, value in experiment.terms(member).items())
        print(f"beta {label:8} {found}  {member.id}")


def follow(run: "Run") -> None:
    """Draw a progress bar until the run's worker is done. An interrupt lets it save and stop. Raises UserError."""
    from tqdm import tqdm

    from genmodels import jobs

    print(f"Run {run.id}: {run.path}", file=sys.stderr)
    signal.signal(signal.SIGINT, lambda signum, frame: jobs.stop(run))
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}") as bar:
        while (status := run.status()).active:
            bar.update(100 * status.share - bar.n)
            newest = {name: f"{value:.4g}" for name, value in (run.newest_point() or {}).get("train", {}).items()}
            bar.set_postfix(newest | {"images/s": f"{status.images_per_second:,.0f}"})
            time.sleep(0.25)
        bar.update(100 * status.share - bar.n)
    if status.state == "failed":
        raise UserError(status.error or f"The run {run.id} failed.")
    print(f"{status.state}; look at it with `python -m genmodels evaluate {run.id}` or in the app.", file=sys.stderr)


def resume(arguments: argparse.Namespace) -> None:
    from genmodels import jobs, runs

    run = runs.find(arguments.run)
    jobs.resume(run)
    follow(run)


def sample(arguments: argparse.Namespace) -> None:
    import torch

    from genmodels import media, runs
    from genmodels.analysis.snapshot import to_bytes
    from genmodels.training import evaluating

    run = runs.find(arguments.run)
    if not hasattr(run.model, "sample"):
        raise UserError(f"A run of the family {run.config.family} cannot sample: nothing gives its codes a law.")
    if not 1 <= arguments.count <= 10_000:
        raise UserError(f"--count must be 1 to 10000, not {arguments.count}.")
    with evaluating(run.model):
        images = run.model.sample(arguments.count, generator=torch.Generator().manual_seed(arguments.seed))  # type: ignore[operator]
    columns = max(1, round(arguments.count**0.5))
    with disk_errors(str(arguments.out)):
        arguments.out.write_bytes(media.png(media.grid(to_bytes(images), columns)))
    print(f"{arguments.count} samples written to {arguments.out}", file=sys.stderr)


def write(arguments: argparse.Namespace) -> None:
    """What the commands of `files` have in common."""
    from genmodels import explorer, onnx_export, reproduction, runs

    run = runs.find(arguments.run)
    make: dict[str, Callable[[], bytes]] = {
        "onnx": lambda: onnx_export.export(run, arguments.part),
        "explorer": lambda: explorer.build(run, arguments.tsne),
        "reproduce": lambda: reproduction.script(run).encode(),
    }
    written = make[arguments.command]()
    with disk_errors(str(arguments.out)):
        arguments.out.write_bytes(written)
    print(f"Written to {arguments.out}: {len(written) / 1e6:.2g} MB", file=sys.stderr)


def evaluate(arguments: argparse.Namespace) -> None:
    from genmodels import runs
    from genmodels.analysis import metrics
    from genmodels.session import dataset_of
    from genmodels.training import Images

    if min(arguments.draws, arguments.images, arguments.samples) < 1:
        raise UserError("--draws, --images and --samples must be 1 or more.")
    run = runs.find(arguments.run)
    dataset = dataset_of(run.config)
    read_by(run, dataset)
    found = metrics.evaluate(
        run.model, Images.of(dataset, "test"), draws=arguments.draws, nll_images=arguments.images, dataset=dataset,
        samples=arguments.samples,
    )  # fmt: skip
    lacking: dict[str, list[str]] = {}
    for name, why in metrics.left_out(run.model, dataset, arguments.samples).items():
        lacking.setdefault(why, []).append(name)
    if arguments.json:
        print(json.dumps({name: metric.entry() for name, metric in found.items()}, indent=1))
    else:
        print(table(found))
    for why, names in lacking.items():
        print(f"Left out: {', '.join(names)}. {why}", file=sys.stderr if arguments.json else sys.stdout)


def read_by(run: "Run", dataset: "Dataset") -> None:
    """Train what reads this run's images where nothing does yet."""
    from genmodels.analysis.features import reader_of, train_unlabelled
    from genmodels.analysis.judge import train_judge
    from genmodels.families.contract import abilities

    if not {"sample", "translate"} & set(abilities(run.model)) or reader_of(dataset.name, dataset.classes):
        return
    if labelled := len(dataset.classes) > 1:
        print("No judge reads these images yet: training one, in about half a minute.", file=sys.stderr)
    else:
        print(
            "These images have no classes that a judge could learn: training an autoencoder, to compare them in its "
            "features, in about a quarter of a minute.",
            file=sys.stderr,
        )
    (train_judge if labelled else train_unlabelled)(dataset.name)


def table(found: "Mapping[str, Metric]") -> str:
    """A line for each figure, and under it what it is made of."""
    lines = [f"{'figure':24} {'value':>12}  {'better':9} {'floor':>12} {'n':>7}  unit"]
    for name, (value, unit, better, n, floor, parts) in found.items():
        least = "" if floor is None else f"{floor:.5f}"
        lines.append(f"{name:24} {value:12.5f}  {ARROWS[better]:9} {least:>12} {n:>7,}  {unit}")
        if parts:
            kept = parts if len(parts) <= PARTS else dict(sorted(parts.items(), key=lambda part: -part[1])[:PARTS])
            more = f" and {len(parts) - len(kept)} smaller" if len(parts) > len(kept) else ""
            told = ", ".join(f"{part}={number:.3g}" for part, number in kept.items()) + more
            lines.append(textwrap.fill(f"of which {told}", 110, initial_indent=" " * 25, subsequent_indent=" " * 25))
    return "\n".join(lines)


def list_runs(arguments: argparse.Namespace) -> None:
    from genmodels import runs

    found = runs.all_runs()
    if not found:
        print("No runs yet. Make the first: python -m genmodels train vae digits", file=sys.stderr)
    for run in found:
        status = run.status()
        print(f"{run.id:40} {status.state:9} step {status.step:>8}  {status.error or ''}")


def list_families(arguments: argparse.Namespace) -> None:
    from genmodels.families import FAMILIES

    for name, family in FAMILIES.items():
        print(f"{name}: {family.summary}")
        describe(family.Config)
    print("for all families (how long and how a run trains):")
    describe(Schedule)


def describe(config: type[Config]) -> None:
    """One line for each knob: default, range and help."""
    for name, field in config.model_fields.items():
        bounds = [f"{limit:g}" for m in field.metadata for limit in [getattr(m, "ge", getattr(m, "le", None))]]
        choices = ", ".join(getattr(field.annotation, "__args__", ())) if not bounds else " to ".join(bounds)
        print(f"    {name}={field.default}  ({choices})  {field.description}")


def list_datasets(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from genmodels import data
    from genmodels.data import intake

    if arguments.download:
        data.entry(arguments.download)  # an unknown name is refused before a bar is drawn
        with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
            data.download(arguments.download, lambda share, text: bar.update(100 * share - bar.n))
    for name, entry in data.DATASETS.items():
        print(f"{name:16} {'here' if data.is_present(name) else 'to download':12} {entry.description}")
    for name in intake.own_datasets():
        print(f"{name:16} {'here':12} your own images")


COMMANDS = {
    "train": train,
    "again": again,
    "betas": betas,
    "resume": resume,
    "sample": sample,
    "evaluate": evaluate,
    "onnx": write,
    "explorer": write,
    "reproduce": write,
    "runs": list_runs,
    "families": list_families,
    "datasets": list_datasets,
}


def main(words: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(words)
    try:
        COMMANDS[arguments.command](arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
