"""The app as a user starts it, on a free port of this machine, and a Chromium to look at it with."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from playwright.sync_api import Browser, Playwright

ROOT = Path(__file__).parent.parent.parent
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_server(port: int, log: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start the app and wait until it answers; runs live in this process's GENMODELS_HOME. log: what it says."""
    words = ["-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port), "--server.address", "127.0.0.1"]
    server = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=log, stderr=log)
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                return server
        except OSError:
            assert server.poll() is None, "the server ended before it answered"
            try:
                server.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    raise AssertionError("the server did not answer in 30 seconds")


@contextmanager
def served() -> Iterator[str]:
    """The address of a server that is ended, by its own process id, with the block."""
    port = free_port()
    server = start_server(port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def launch(playwright: Playwright) -> Browser:
    """The system's Chromium, or the one that `playwright install chromium` brought."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=found, args=QUIET)
