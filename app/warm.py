"""What the server does beside answering: import torch before it is asked for, and collect garbage between reruns."""

import gc
import threading

COLLECT_EVERY = 60.0  # seconds


def start() -> None:
    """Once, when the server starts."""
    threading.Thread(target=_keep_warm, name="warm", daemon=True).start()


def _keep_warm() -> None:
    """The first page paints while this imports; then a collection walks over our objects only, not over torch's."""
    from genmodels.families import FAMILIES

    for family in FAMILIES.values():
        _ = family.Config
    gc.collect()
    gc.freeze()
    while not threading.Event().wait(COLLECT_EVERY):
        gc.collect()
