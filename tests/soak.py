"""How long the tests go on that try at random: a tenth in `make test`, the same each time; the whole in `make soak`."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

WHOLE = bool(os.environ.get("GENMODELS_SOAK"))
INPUTS = 10_000 if WHOLE else 1_000
KILLS = 50 if WHOLE else 5
IN_SOAK = pytest.mark.skipif(not WHOLE, reason="it takes long: `make soak` runs it")
SHARES = {"archives": 0.25, "images": 0.35, "runs": 0.12, "routes": 0.24, "addresses": 0.04}
assert abs(sum(SHARES.values()) - 1) < 1e-9


def inputs_of(kind: str, parts: int = 1) -> settings:
    """So many of all inputs, shared by so many tests; where they are few, always the same, so that a check fails for
    who broke it. Found ones are printed as they are: to shrink one may take minutes."""
    return settings(
        max_examples=round(INPUTS * SHARES[kind] / parts), deadline=None, derandomize=not WHOLE, database=None,
        print_blob=True, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
