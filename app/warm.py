"""What the server does beside answering: import torch and have a worker ready before either is asked for, and collect
garbage between reruns; in a demo, call the next in line and remove what has expired."""

import contextlib
import ctypes
import gc
import logging
import sys
import threading
import time

AGAIN = 30.0  # seconds
CALL = 0.5  # seconds between two looks at the line of a demo
ARENAS, ALONE = -8, -3  # M_ARENA_MAX and M_MMAP_THRESHOLD of mallopt(3)
LARGE = 2**22  # bytes: below, what comes and goes with each answer would cost a tenth of the processor
_opened: list[object] = []  # for good


def start() -> None:
    """Once, when the server starts."""
    threading.Thread(target=_keep_warm, name="warm", daemon=True).start()


def _keep_warm() -> None:
    """The first page paints while this imports; then a collection walks over our objects only, not over torch's."""
    from genmodels import demo, jobs
    from genmodels.families import FAMILIES

    for family in FAMILIES.values():
        _ = family.Config
    gc.collect()
    gc.freeze()
    jobs.stand_by()
    if demo.on():
        _make_room_for_many()
        # In a thread of its own: neither what takes long there nor what goes wrong keeps anybody's run from its turn.
        threading.Thread(target=_open_what_comes_along, name="opening", daemon=True).start()
    told = time.monotonic()
    while not threading.Event().wait(CALL if demo.on() else AGAIN):
        try:
            jobs.call_next()
            if time.monotonic() - told >= AGAIN:
                told = time.monotonic()
                _tidy()
        except Exception:  # the next time may be better, and without one nobody's run would ever start
            logging.getLogger(__name__).exception("The server could not tidy up")


def _make_room_for_many() -> None:
    """Visitors and a training share the processors: each takes one thread, and nobody waits for imports."""
    import torch
    import torch._dynamo  # two seconds, which the first optimiser takes otherwise
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1, "blas")
    sys.setswitchinterval(0.001)  # seconds after which a thread lets others have their turn; 0.005 is usual
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(ARENAS, 2)  # else memory is kept for each of many threads that come and go
        libc.mallopt(ALONE, LARGE)  # what is large goes back to the system at once, and leaves no holes behind
        # What a convolution was compiled to is kept for each number of images a thousand times, in oneDNN and again in
        # torch: some 50 MB that fill for many minutes. With 32 of each no family decodes measurably slower; trainings
        # would, so this is not in os.environ, which they inherit.
        for kept in (b"ONEDNN_PRIMITIVE_CACHE_CAPACITY", b"LRU_CACHE_CAPACITY"):
            libc.setenv(kept, b"32", 0)
    gc.collect()
    gc.freeze()


def _open_what_comes_along() -> None:
    """Nobody waits for it, and what is in memory for all visitors is there from the beginning."""
    from genmodels.config import UserError
    from genmodels.inside import open_inside
    from genmodels.runs import shipped_runs

    for run in shipped_runs():
        with contextlib.suppress(UserError):  # it has no codes to look into
            _opened.append(open_inside(run))


def _tidy() -> None:
    from genmodels import hosting, jobs

    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # what was freed goes back to the system
    jobs.stand_by()  # the last one may have got its run
    hosting.sweep()
