"""Measuring runs again with more samples and draws than there is time for at the end of a training."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import streamlit as st
from filelock import Timeout
from pydantic import ValidationError

from app.plan import duration
from app.state import ROOT, plain
from genmodels import demo
from genmodels.config import UserError
from genmodels.files import write_json
from genmodels.runs import FIGURES, Run

MORE: tuple[str, ...] = ()  # how many, where not as `python -m genmodels evaluate` has it by default
LOOK = 1.0  # seconds between two looks at the process that measures
WORK = "measuring"  # in the session: the Measuring that is under way
FAILED = "measuring-failed"


class Measuring:
    """Runs that are measured one after the other, each in a process of its own; that ends with this, or the session."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.left, self.count = list(runs), len(runs)
        self.folder = tempfile.TemporaryDirectory()
        self.told, self.said = (Path(self.folder.name) / name for name in ("told", "said"))
        self.begin()

    def begin(self) -> None:
        """Begin with the first of those that are left."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "genmodels", "evaluate", str(self.left[0].path.absolute()), "--json", *MORE]
        with self.told.open("wb") as told, self.said.open("wb") as said:
            self.process = subprocess.Popen(command, stdout=told, stderr=said, env=os.environ | {"PYTHONPATH": path})
        self.began = time.monotonic()

    def keep(self) -> None:
        """Write the figures of the run whose process has ended, and drop it from the list. Raises UserError."""
        run = self.left.pop(0)
        if self.process.returncode:
            words = self.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise UserError(f"The run {run.id} could not be measured: {words[-1] if words else 'it ended at once.'}")
        try:
            found = FIGURES.validate_json(self.told.read_bytes())
            run.path.stat()  # the lock would make the folder anew
            with run.lock().acquire(blocking=False):
                if run.status().state == "finished":  # nobody has resumed it meanwhile
                    write_json(run.path / "summary.json", found)
        except ValidationError:
            raise UserError(
                f"What was measured of run {run.id} is no list of figures, so its own stay: try again."
            ) from None
        except Timeout:
            raise UserError(f"The run {run.id} is being trained, so its figures stay as they are.") from None
        except OSError:
            raise UserError(
                f"The figures of run {run.id} are not kept: its folder was deleted meanwhile, or cannot be written."
            ) from None

    def stop(self) -> None:
        """End the process, if there still is one."""
        self.process.kill()
        self.process.wait()

    __del__ = stop


def again(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    """A button that measures one's own runs that have ended, and the progress of that. A demo has no time for it."""
    if demo.on():
        return
    work: Measuring | None = st.session_state.get(WORK)
    st.fragment(_progress, run_every=LOOK if work else None)(runs, names)


def _progress(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    if failed := st.session_state.pop(FAILED, None):
        st.error(plain(failed))
    if work := st.session_state.get(WORK):
        _look(work, names)
        return
    own = [run for run in runs if not run.shipped and run.status().state == "finished" and run.stamp]
    if own and st.button(
        "Measure again with more samples", icon=":material/replay:",
        help="At the end of a training there is time for 2,000 samples and 100 draws at most. This takes 10,000 and "
        "500, so it takes some minutes for each run of yours, and an hour for a diffusion model. Runs that come with "
        "the app stay as they are.",
    ):  # fmt: skip
        st.session_state[WORK] = Measuring(own)
        st.rerun()


def _look(work: Measuring, names: Mapping[str, str]) -> None:
    """How far it is; what has ended is kept, and the page drawn anew with it."""
    if work.process.poll() is not None:
        try:
            work.keep()
        except UserError as error:
            st.session_state[FAILED] = str(error)
        if work.left:
            work.begin()
        else:
            del st.session_state[WORK]
        st.rerun()
    run, done = work.left[0], work.count - len(work.left)
    with st.container(horizontal=True, vertical_alignment="center"):
        so_far = duration(time.monotonic() - work.began)
        st.progress(
            done / work.count,
            f"Measuring {plain(names.get(run.id, run.id))}, {done + 1} of {work.count}: {so_far} so far",
        )
        if st.button("Stop", icon=":material/stop:", help="The figures of runs that are done stay."):
            st.session_state.pop(WORK).stop()
            st.rerun()
