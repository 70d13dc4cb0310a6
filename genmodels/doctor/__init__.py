"""What is odd about a run, from its own numbers alone: what it is, why, and the change that usually cures it.

A rule asks for the losses, metrics and knobs that are there, never for a family by its name, and is silent where they
are not. It looks at numbers only: nothing is computed with a model here, and no torch is needed.
"""

from typing import NamedTuple

from genmodels.doctor.cures import Cure, changed, in_words, parsed, written
from genmodels.doctor.numbers import Numbers, numbers_of
from genmodels.doctor.rules import EXPLAINS, LEVELS, RULES, Finding

__all__ = [
    "Cure", "Diagnosis", "Finding", "Numbers", "changed", "diagnose", "in_words", "numbers_of", "parsed", "written",
]  # fmt: skip


class Diagnosis(NamedTuple):
    """The findings, the gravest first; and what was looked at and is in order, a phrase for each rule."""

    findings: tuple[Finding, ...]
    fine: tuple[str, ...]


def diagnose(numbers: Numbers) -> Diagnosis:
    """Apply every rule. What only follows from a graver finding is not told beside it."""
    verdicts = [rule(numbers) for rule in RULES]
    found = [each for each in verdicts if isinstance(each, Finding)]
    explained = {name for each in found for name in EXPLAINS.get(each.name, ())}
    if numbers.knobs.get("beta", 0) > 1:
        explained.discard("posterior_collapse")  # longer training would not undo that
    told = [each for each in found if each.name not in explained]
    told.sort(key=lambda each: LEVELS.index(each.level))
    return Diagnosis(tuple(told), tuple(each for each in verdicts if isinstance(each, str)))
