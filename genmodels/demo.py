"""A hosted demo: what one visitor may use, and the spaces that keep visitors apart.

A space is the folder shared_home()/spaces/<key>: whoever has the key has the space. It is made here and nowhere else.
"""

import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from genmodels.config import Config, Schedule, UserError, knob
from genmodels.files import KEY, SHIPPED, disk_errors, home, shared_home, space_folder
from genmodels.files import demo as on

OWN = ("runs", "own", SHIPPED)  # folders of a space with what its visitor made
USED = "used"  # an empty file of a space, touched whenever its visitor does something
MB = 2**20
ROOM = 500 * MB  # that stay free on the disk
Counted = TypeVar("Counted", bound=Any)  # a data.Source
QUIET = 300.0  # seconds after which an empty space may make room for another visitor
LARGEST_IMAGE = 3 * 64**2  # numbers of an image that is as large as can be
LOOK_AGAIN = 60.0  # seconds in which a visitor's clicks are one use


class Quotas(Config):
    """What one visitor may use, and how many there may be. Each has an environment variable: GENMODELS_DEMO_<NAME>."""

    minutes: float = knob(3, 0.01, help="Training of one run.", unit="minutes")
    steps: int = knob(60_000, 1, help="Updates of one run.", unit="steps")
    parameters: int = knob(8_000_000, 1, help="Numbers that one model learns.")
    batch: int = knob(256, 1, help="Images of one step, were they as large as can be: 64 pixels a side, in colour.")
    runs: int = knob(12, 1, help="Runs kept.")
    active: int = knob(6, 1, help="Runs that train or wait: an experiment on the page Debias has six.")
    datasets: int = knob(2, 0, help="Datasets of one's own.")
    upload: int = knob(10, 1, help="One uploaded file.", unit="MB")
    space: int = knob(200, 1, help="Everything in one space.", unit="MB")
    prepared: int = knob(200, 1, help="One dataset in one size, as it is learned from.", unit="MB")
    own: int = knob(50, 1, help="The same of a dataset of one's own.", unit="MB")
    download: int = knob(40, 0, help="A dataset that a visitor may have fetched, once for all.", unit="MB")
    cache: int = knob(2000, 1, help="Prepared datasets of all visitors together.", unit="MB")
    memory: int = knob(1500, 1, help="Memory that the process that trains may ask for; two thirds are used.", unit="MB")
    spaces: int = knob(300, 1, help="Spaces at a time.")
    hours: float = knob(6, 0.001, help="Until a space that nobody uses is removed.", unit="hours")
    empty_hours: float = knob(1, 0.001, help="The same of a space with nothing in it.", unit="hours")


def quotas() -> Quotas:
    """As the host set them. Raises UserError for a variable that says nothing sensible."""
    given = {name: os.environ.get(f"GENMODELS_DEMO_{name.upper()}") for name in Quotas.model_fields}
    return Quotas.of({name: value for name, value in given.items() if value})


def give_way() -> None:
    """Let the server answer first: this process works beside it.

    In a demo on Linux it runs only while a processor has nothing else to do. At a lower priority alone it would end its
    turn of some milliseconds whenever the server wakes up, which that does many times for each answer.
    """
    if on() and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    elif hasattr(os, "nice"):
        os.nice(10)


# --- what is refused ------------------------------------------------------------------------------------------------


def too_long(schedule: Schedule, images: int) -> str | None:
    """Why nobody may train for so long here, over so many images; None where one may."""
    most, steps = quotas(), schedule.steps(images)
    if schedule.unit == "minutes" and schedule.budget > most.minutes:
        return f"This demo trains a model for at most {most.minutes:g} minutes: lower the budget."
    if steps and steps > most.steps:
        return f"This demo trains a model for at most {most.steps:,} steps, and this is {steps:,}: lower the budget."
    return None


def refusals(config: Any, images: int) -> list[str]:
    """Why a run (a RunConfig) over so many images cannot be trained in a demo; nothing where it can."""
    if not on():
        return []
    try:
        check_model(config)
    except UserError as error:
        return [str(error)]
    return [problem] if (problem := too_long(config.schedule, images)) else []


def check_run(config: Any, others: Sequence[Any] = ()) -> None:
    """Raises UserError for a run (a RunConfig) that is too long or too large, or one too many beside others (Runs)."""
    check_count("runs", len(others))
    check_count("active", sum(each.status().active for each in others))
    schedule = config.schedule
    if problem := too_long(schedule, config.images() if schedule.unit == "epochs" else 1):
        raise UserError(problem)
    check_model(config)
    room()


def check_model(config: Any) -> None:
    """Raises UserError where the model of a run (a RunConfig), or what a step of it takes, is too large for a demo."""
    if not on():
        return
    import torch

    fit = max(1, quotas().batch * LARGEST_IMAGE // math.prod(config.shape))
    if (batch := config.schedule.batch_size) > fit:
        raise UserError(
            f"A step of this run looks at {batch:,} images, and in this demo it may look at {fit:,} of this size: "
            "choose a smaller batch or smaller images."
        )

    with torch.device("meta"):  # costs no memory
        parameters = sum(each.numel() for each in config.build().parameters())
    if parameters > (most := quotas().parameters):
        raise UserError(
            f"This model has {parameters:,} parameters, and in this demo it may have {most:,}: make it smaller."
        )


def used_up(steps: int, seconds: float) -> str:
    """What a run has had all of that a visitor's run may have, as a sentence; nothing while there is some left."""
    most = quotas()
    if on() and steps >= most.steps:
        return f"The demo's {most.steps:,} steps are used."
    if on() and seconds >= 60 * most.minutes:
        return f"The demo's {most.minutes:g} minutes of training are used."
    return ""


def upload_limit(usual: int | None = None) -> int | None:
    """The most megabytes of one upload: `usual`, or less in a demo."""
    return min(usual or quotas().upload, quotas().upload) if on() else usual


def check_upload(size: int) -> None:
    """Raises UserError for a file of so many bytes."""
    if on() and size > quotas().upload * MB:
        raise UserError(f"The file has {size / MB:,.1f} MB, and in this demo it may have {quotas().upload}.")


def affordable(source: Counted, each: int, make_room: Callable[[], object] | None = None) -> Counted:
    """The images, of so many bytes each. Raises UserError where all of them are too many for a demo.

    make_room: for one's own images, which take room in the space: removes of it what can be made again.
    """
    if not on():
        return source
    size, most = source.count * each, quotas().prepared if make_room is None else min(quotas().prepared, quotas().own)
    if size > most * MB:
        raise UserError(
            f"So large the images take {size / MB:,.0f} MB, and in this demo a dataset may take {most}: "
            "choose fewer pixels a side, or grey."
        )
    if make_room is not None:
        try:
            room(size)
        except UserError:
            make_room()
            room(size)
    return source


def check_count(what: str, there: int) -> None:
    """Raises UserError where one more of the 'runs', 'datasets' or 'active' is too many."""
    most = getattr(quotas(), what)
    if on() and there >= most:
        sentence = {
            "runs": f"keeps {most} runs for each visitor: delete one first",
            "datasets": f"keeps {most} datasets of your own: delete one first",
            "active": f"trains or queues at most {most} runs of each visitor: wait for one of yours, or stop it",
        }[what]
        raise UserError(f"This demo {sentence}.")


def room(needed: int = 0) -> int:
    """Bytes that are left in the visitor's space. Raises UserError where `needed` bytes and one more do not fit."""
    left = quotas().space * MB - size_of(home())
    if left <= needed:
        raise UserError(
            f"Your space in this demo has {quotas().space:,} MB and is full: download what you need and delete a run."
        )
    if shutil.disk_usage(shared_home()).free < ROOM + needed:
        raise UserError("The disk of this demo is full: try again later.")
    return left


def size_of(folder: Path) -> int:
    """Bytes in a folder; links are not followed."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


# --- spaces ---------------------------------------------------------------------------------------------------------


def spaces() -> list[Path]:
    """All spaces there are. Links are none."""
    try:
        entries = list(os.scandir(shared_home() / "spaces"))
    except FileNotFoundError:
        return []
    return [Path(each.path) for each in entries if KEY.fullmatch(each.name) and each.is_dir(follow_symlinks=False)]


def new_space() -> str:
    """The key of a space just made. Raises UserError where there are as many as there may be, or no room."""
    place = shared_home() / "spaces"
    with disk_errors("your space"):
        place.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(place).free < ROOM:
            raise UserError("The disk of this demo is full: come back later.")
        with FileLock(place / ".lock"):
            if len(there := spaces()) >= quotas().spaces:
                _make_room(there)
            key = secrets.token_hex(16)
            (place / key).mkdir()
            (place / key / USED).touch()
    return key


def _make_room(there: list[Path]) -> None:
    """Remove the empty space that was quiet for longest. Raises UserError where none is."""
    idle = [(time.time() - _last_use(each), each) for each in there if is_empty(each)]
    quiet, folder = max(idle, default=(0.0, None))
    if folder is None or quiet < QUIET:
        raise UserError(f"This demo has {quotas().spaces} visitors, as many as it has room for: come back later.")
    remove(folder)


def is_empty(folder: Path) -> bool:
    """Whether nobody would miss anything of that space."""
    return not any((folder / each).is_dir() and any((folder / each).iterdir()) for each in OWN)


def _last_use(folder: Path) -> float:
    try:
        return (folder / USED).stat().st_mtime
    except OSError:
        return 0.0


def seconds_left(folder: Path) -> float:
    """Until the space expires if nobody uses it; below 0 afterwards."""
    hours = quotas().empty_hours if is_empty(folder) else quotas().hours
    return _last_use(folder) + 3600 * hours - time.time()


def enter(key: str) -> bool:
    """Whether there is such a space; then it counts as used. One that has expired is there until it is removed."""
    if not KEY.fullmatch(key):
        return False
    folder = space_folder(key)
    if not folder.is_dir() or folder.is_symlink():
        return False
    if time.time() - _last_use(folder) > LOOK_AGAIN:
        use(folder)
    return True


def use(folder: Path) -> None:
    """The time of expiry counts from now."""
    if folder.is_dir():
        (folder / USED).touch()


def remove(folder: Path) -> None:
    """Remove a space: at once out of reach, then its files. Links in it are removed, not followed."""
    if folder.parent != shared_home() / "spaces" or folder.is_symlink():
        raise UserError(f"{folder.name} is no space, so it stays.")
    try:
        gone = folder.rename(folder.with_name(f".gone-{secrets.token_hex(8)}"))
    except FileNotFoundError:  # another server on this home was faster
        return
    shutil.rmtree(gone, ignore_errors=True)
