"""`make load`: a class of thirty visitors on this machine while one run trains. What must hold is printed at the end.

    python -m tests.load --visitors 30 --minutes 10
    python -m tests.load --census          one visitor, no training: processor time of each page's reruns

It starts a server of its own on an empty home, trains a VAE, measures its speed alone, then lets visitors in: websocket
clients that speak Streamlit's protocol, go from page to page, drag, change widgets and compare. All of it shares two
processor cores, the visitors too: their own part is printed. In a demo a third of the visitors come by a link to the
space in which the run trains, and watch it now and then; the others get spaces of their own.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from genmodels import data, demo, jobs, runs
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES
from genmodels.files import in_space
from tests.browser.serving import free_port, start_server
from tests.load_score import EVERY, Score, processor_seconds
from tests.load_tab import Tab
from tests.load_visitor import PAGES, Place, Visitor

HOST = "127.0.0.1"
SECOND, SHARE, SPEED, FLAT = 1.0, 0.95, 0.5, 0.05  # the promises; memory is flat where it grows by a smaller share
SETTLES = 10.0  # seconds that a training needs until its speed is its own
IDLE = 0.1  # seconds of processor time in a second, below which a server does nothing
TOGETHER = 3  # in a demo, one visitor of so many comes into the space in which the run trains


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--warm-up", type=float, default=3, help="minutes that the line through the memory leaves out")
    parser.add_argument("--alone", type=float, default=30, help="seconds of training before anybody comes")
    parser.add_argument("--arrive", type=float, default=30, help="seconds in which the visitors arrive")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-demo", action="store_true", help="one home for all, as on one's own machine")
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--census", action="store_true", help="one visitor, page by page, without a training")
    parser.add_argument("--rounds", type=int, default=2, help="of the census")
    parser.add_argument("--say", action="store_true", help="each rerun as it ends")
    parser.add_argument("--json", type=Path, help="where all figures are written to")
    return parser.parse_args()


@contextmanager
def serving(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The app on a free port; ended with the block, by its own process id."""
    port = free_port()
    with (home / "server.log").open("wb") as log:
        server = start_server(port, log)
        try:
            yield server, port
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


@contextmanager
def training(minutes: float) -> Iterator[runs.Run]:
    """A VAE that trains for long enough; stopped with the block."""
    name = "mnist" if data.is_present("mnist") else "digits"
    loaded = data.load(name, 28, 1)
    run = runs.create(
        runs.RunConfig(
            family="vae", knobs=FAMILIES["vae"].Config(latent_size=20).model_dump(), dataset=name, size=28,
            shape=loaded.shape, classes=loaded.classes,
            schedule=Schedule(budget=minutes, unit="minutes", decay="constant"),
        )
    )  # fmt: skip
    jobs.start(run)
    try:
        yield run
    finally:
        jobs.stop(run)
        ends = time.monotonic() + 60
        while run.status().active and time.monotonic() < ends:
            time.sleep(0.2)
        if (status := run.status()).active and status.pid:
            with suppress(ProcessLookupError):
                os.kill(status.pid, 9)


def wait_until_idle(pid: int) -> None:
    """A server just started imports what it will need."""
    for _ in range(60):
        before = processor_seconds(pid)
        time.sleep(1)
        if processor_seconds(pid) - before < IDLE:
            return


def speed(run: runs.Run, seconds: float) -> float:
    """Images a second over a while, by the clock on the wall."""
    before, began = run.status(), time.monotonic()
    time.sleep(seconds)
    after = run.status()
    assert after.state == "running", after.error or after.state
    return (after.step - before.step) * run.config.schedule.batch_size / (time.monotonic() - began)


async def visited(asked: argparse.Namespace, score: Score, port: int, place: Place, key: str | None) -> None:
    """All visitors, from the first arrival to the end. key: of the space in which the run trains, in a demo."""
    ends = time.monotonic() + 60 * asked.minutes
    tabs = [Tab(HOST, port, score.told, score.wrong) for _ in range(asked.visitors)]

    async def come(number: int) -> None:
        await asyncio.sleep(asked.arrive * number / len(tabs))
        guest = key and number % TOGETHER
        seen = place._replace(training="") if guest else place
        await Visitor(tabs[number], seen, 1000 * asked.seed + number, "" if guest else key or "").visit(ends)

    async def look() -> None:
        while True:
            score.look()
            await asyncio.sleep(EVERY)

    looking = asyncio.create_task(look())
    found = await asyncio.gather(*(come(number) for number in range(len(tabs))), return_exceptions=True)
    looking.cancel()
    score.look()
    for number, error in enumerate(found):
        if error:
            score.wrong(tabs[number].page.name, f"the visitor stumbled: {type(error).__name__}: {error}")


async def census(asked: argparse.Namespace, score: Score, port: int, place: Place, key: str | None) -> None:
    """One visitor on each page in turn, without a thought."""
    tab = Tab(HOST, port, score.told, score.wrong)
    visitor = Visitor(tab, place, asked.seed)
    await tab.open("", f"space={key}" if key else "")
    for _ in range(asked.rounds):
        for name in PAGES:
            await visitor.go(name)
            for _ in range(6):
                await asyncio.sleep(0.2)
                score.used = processor_seconds(score.server)
                await visitor.act()
    await tab.close()


def alike() -> list[str]:
    """Ready-made runs that one would compare: of one family on one dataset."""
    found = [run for run in runs.shipped_runs() if run.config.family == "vae"]
    mnist = [run.id for run in found if run.config.dataset == "mnist"]
    return mnist or [run.id for run in found]


def show(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title:34} {'count':>6} {'median':>8} {'95th':>8} {'most':>8} {'< 1 s':>7} {'cpu':>7}   ms")
    for row in rows:
        print(
            f"{row['name'][:34]:34} {row['count']:6} {row['median']:8.0f} {row['p95']:8.0f} {row['most']:8.0f} "
            f"{row['in_a_second']:7.1%} {row['processor']:7.0f}"
        )


def report(asked: argparse.Namespace, score: Score, alone: float | None, batch: int) -> dict[str, Any]:
    """The tables; -> all figures."""
    show("Reruns and requests, by kind", score.table())
    show("Reruns, by page", score.table(1))
    show("Reruns, by page and kind", score.table(2))
    reruns, first, last = score.reruns(), score.looks[0], score.looks[-1]
    span = max(1e-9, last.seconds - first.seconds)
    share = sum(each < SECOND for each in reruns) / max(1, len(reruns))
    busy = {name: (getattr(last, name) - getattr(first, name)) / span for name in ("server", "visitors", "training")}
    memory = score.memory(60 * asked.warm_up)
    with_visitors = (last.step - first.step) * batch / span
    print("\nProcessor cores in use: " + ", ".join(f"{name} {value:.2f}" for name, value in busy.items()))
    print(f"Reruns: {len(reruns) / span:.1f} a second, {1000 * busy['server'] * span / max(1, len(reruns)):.0f} ms of "
          "the server's processor time for each, requests included")  # fmt: skip
    if memory:
        print("Memory of the server, MB: " + ", ".join(f"{name} {value:.1f}" for name, value in memory.items()))
    for (page, words), count in score.errors.most_common(40):
        print(f"ERROR {count} times on '{page}': {words}")
    held = {
        "no error": not score.errors,
        f"{SHARE:.0%} of reruns under {SECOND:g} s: {share:.1%}": share >= SHARE,
    }
    if memory:
        grown = memory["to"] / memory["from"] - 1
        words = f"memory flat after {asked.warm_up:g} minutes: {memory['megabytes_a_minute']:+.2f} MB a minute"
        held[f"{words}, {grown:+.1%} in all"] = grown < FLAT
    if alone:
        held[f"training at {SPEED:.0%} of {alone:,.0f} images/s: {with_visitors / alone:.0%}"] = (
            with_visitors >= SPEED * alone
        )
    print()
    for words, good in held.items():
        print(f"{'holds' if good else 'FAILS'}: {words}")
    return {
        "visitors": asked.visitors, "minutes": asked.minutes, "demo": not asked.no_demo, "held": held, "share": share,
        "errors": [[page, words, count] for (page, words), count in score.errors.items()],
        "images_per_second": {"alone": alone, "with_visitors": with_visitors}, "cores": busy, "memory": memory,
        "kinds": score.table(), "pages": score.table(1), "both": score.table(2),
        "looks": [each._asdict() for each in score.looks],
    }  # fmt: skip


def main() -> int:
    asked = arguments()
    for each in (signal.SIGINT, signal.SIGTERM):  # also where a shell has them ignored: server and training end with us
        signal.signal(each, signal.default_int_handler)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    if asked.census:
        asked.visitors, asked.arrive, asked.no_training = 1, 0.0, True
    lasts = asked.minutes + asked.alone / 60 + 5
    os.environ["GENMODELS_DEMO"] = "0" if asked.no_demo else "1"
    os.environ |= {"GENMODELS_DEMO_MINUTES": str(lasts), "GENMODELS_DEMO_STEPS": str(10**9)}  # as long as it is watched
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        os.environ["GENMODELS_HOME"] = folder
        key = None if asked.no_demo else demo.new_space()
        with serving(Path(folder)) as (server, port), in_space(key):
            wait_until_idle(server.pid)
            with nullcontext() if asked.no_training else training(lasts) as run:
                found = measured(asked, server, port, run, key)
            log = (Path(folder) / "server.log").read_text(errors="replace")
    found["traces"] = log.count("Traceback")
    if found["traces"]:
        print(f"FAILS: the server's log has {found['traces']} traces, the last one:\n{log[log.rindex('Traceback') :]}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))
    return 0 if all(found["held"].values()) and not found["traces"] else 1


def measured(
    asked: argparse.Namespace, server: subprocess.Popen[bytes], port: int, run: runs.Run | None, key: str | None
) -> dict[str, Any]:
    """With the server running: the training alone, then everybody."""
    alone = None
    if run:
        while run.status().step < 200:
            assert run.status().active, run.status().error
            time.sleep(0.2)
        time.sleep(SETTLES)
        alone = speed(run, asked.alone)
        print(f"Training alone: {alone:,.0f} images/s", flush=True)

    def progress() -> tuple[int | None, int]:
        status = run.status() if run else runs.Status()
        return status.pid, status.step

    score, place = Score(server.pid, progress), Place(run.id if run else "", alike())
    score.say = asked.say
    with suppress(KeyboardInterrupt):  # what has been seen so far is told
        asyncio.run((census if asked.census else visited)(asked, score, port, place, key))
    if not score.looks:
        score.look()
    assert server.poll() is None, "the server ended while visitors were there"
    return report(asked, score, alone, run.config.schedule.batch_size if run else 0)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        try:
            sys.exit(main())
        except UserError as error:
            sys.exit(str(error))
