"""What the server does beside answering: import torch and have a worker ready before either is asked for, and collect
garbage between reruns."""

import gc
import threading

AGAIN = 30.0  # seconds


def start() -> None:
    """Once, when the server starts."""
    threading.Thread(target=_keep_warm, name="warm", daemon=True).start()


def _keep_warm() -> None:
    """The first page paints while this imports; then a collection walks over our objects only, not over torch's."""
    from genmodels import jobs
    from genmodels.families import FAMILIES

    for family in FAMILIES.values():
        _ = family.Config
    gc.collect()
    gc.freeze()
    jobs.stand_by()
    while not threading.Event().wait(AGAIN):
        gc.collect()
        jobs.stand_by()  # the last one may have got its run
