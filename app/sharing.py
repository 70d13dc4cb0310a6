"""A run as files to give away, each made when it is asked for: all of it, a page, its networks, a script."""

from functools import partial

import streamlit as st

from app import downloads, mailed, visitor
from app.downloads import File
from genmodels import demo, exchange, onnx_export, reproduction
from genmodels.runs import Run, Status


def menu(run: Run, status: Status) -> None:
    """All of it behind one button."""
    with st.popover("Share", icon=":material/share:"):
        if demo.on() and run.shipped:
            visitor.link("share")
        files(run, status)


def files(run: Run, status: Status) -> None:
    """A line for each file that there can be of this run."""
    keep = partial(downloads.button, type="tertiary")
    words = "Settings, weights, curves and pictures. Anybody with Latent Lab can import it in the gallery."
    if status.state != "finished" and (run.path / "resume.pt").exists():
        words += " What it would need to go on stays here: there it can be looked at and copied, not resumed."
    with st.container(gap="small"):
        keep(File("Everything as one zip", f"{run.id}.zip", lambda: exchange.pack(run), words), f"zip-{run.id}")
        if run.stamp:
            mailed.offer(run, "tertiary")
            for part in onnx_export.PARTS:
                if not onnx_export.why_not(run, part):
                    words = f"The {part} for ONNX Runtime, in a browser or anywhere else. It takes some seconds."
                    make = partial(onnx_export.export_apart, run, part)
                    title = f"{part.capitalize()} for other programs (ONNX)"
                    keep(File(title, f"{run.id}-{part}.onnx", make, words))
        if reproduction.ready(status):
            words = "The script that trains this run again and compares what comes out."
            title, script = "Script that trains it again (reproduce.py)", lambda: reproduction.script(run).encode()
            keep(File(title, "reproduce.py", script, words), f"script-{run.id}")
