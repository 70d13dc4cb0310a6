"""Known vulnerabilities of every package that an install may hold: `make audit`.

Fails where there is one. Where the database cannot be reached that is said, nothing was audited, and it passes; with
GENMODELS_MUST_AUDIT set it fails. `python -m tests.audit --reachable` only asks whether it can be reached.
"""

import json
import os
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

LOCKED = Path(__file__).parent.parent / "constraints.txt"
UNREACHABLE = "NOT AUDITED: the database of vulnerabilities cannot be reached from here."


MUST = "GENMODELS_MUST_AUDIT"


def reachable() -> bool:
    """Whether the database answers, asked before anything is installed for it."""
    from pip._internal.models.index import PyPI  # its address for each version tells that version's flaws

    try:
        with urllib.request.urlopen(f"{PyPI.pypi_url}/pip/{version('pip')}/json", timeout=5):
            return True
    except OSError:
        return False


def verdict(told: str, said: str, must: bool) -> tuple[bool, str]:
    """Whether an audit passes, and what it says. told: pip-audit's JSON, or nothing; said: its errors; must: fail where
    nothing could be audited."""
    try:
        found: list[dict[str, Any]] = json.loads(told)["dependencies"]
    except (ValueError, KeyError):
        return (not must, UNREACHABLE) if "ConnectionError" in said or "Timeout" in said else (False, said)
    skipped = [each for each in found if "skip_reason" in each]
    if found and len(skipped) == len(found):
        return not must, UNREACHABLE
    bad = [(each, flaw) for each in found for flaw in each.get("vulns", ())]
    lines = [f"{len(found) - len(skipped)} packages audited, {len(skipped)} unknown to the database."]
    lines += [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'none yet'}"
        for each, flaw in bad
    ]
    return not bad, "\n".join(lines)


def main(only_asks: bool) -> int:
    if only_asks:
        if reachable():
            return 0
        print(UNREACHABLE)
        return 1
    words = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "20", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCKED), *words]
    found = subprocess.run(command, capture_output=True, text=True)
    passed, words_of_it = verdict(found.stdout, found.stderr, bool(os.environ.get(MUST)))
    print(words_of_it)
    return not passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] == ["--reachable"]))
