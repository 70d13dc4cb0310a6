"""The house: who may import whom, how long a file may be, and that every room is where the design puts it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = [
    "config",
    "files",
    "browser",
    "demo",
    "nn",
    "unet",
    "couplings",
    "toys",
    "data",
    "families",
    "training",
    "decoder",
    "analysis",
    "threads",
    "runs",
    "settings",
    "line",
    "steering",
    "doctor",
    "ranking",
    "opening",
    "inside",
    "sliders",
    "maps",
    "translation",
    "denoising",
    "completion",
    "directions",
    "session",
    "stepping",
    "worker",
    "jobs",
    "experiment",
    "debiasing",
    "reproduction",
    "explorer",
    "onnx_export",
    "numbers_in",
    "exchange",
    "hosting",
]
NEVER_JOBS = {"analysis", "figures", "media"}
SOURCES = [path for room in ("genmodels", "app", "pages") for path in sorted((ROOT / room).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Dotted names of everything the file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def module(path: Path) -> str:
    """genmodels/data/x.py -> data, genmodels/runs.py -> runs."""
    return path.relative_to(ROOT).with_suffix("").parts[1]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    forbidden = {"genmodels": {"app", "pages", "streamlit"}, "app": {"pages"}, "pages": {"pages"}}[room(path)]
    assert not roots & forbidden
    if room(path) != "genmodels" or module(path) not in ORDER:
        return
    later = set(ORDER[ORDER.index(module(path)) + 1 :])
    used = {name.split(".")[1] for name in imports(path) if name.startswith("genmodels.")}
    assert not used & later, "genmodels imports from left to right only"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_and_functions_stay_small(path: Path) -> None:
    limit = 80 if room(path) == "pages" else 200 if module(path) == "families" else 400
    text = path.read_text()
    assert len(text.splitlines()) <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, f"{node.name} is longer than 40 lines"


@pytest.mark.parametrize("path", [path for path in SOURCES if room(path) != "pages"], ids=str)
def test_text_is_read_in_an_encoding_that_is_said(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    read = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "read_text"]
    assert all("encoding" in {keyword.arg for keyword in call.keywords} for call in read), "else it is the machine's"


def test_what_draws_never_starts_jobs() -> None:
    for path in (path for path in SOURCES if room(path) == "genmodels" and module(path) in NEVER_JOBS):
        assert not {"genmodels.jobs", "genmodels.worker"} & imports(path)


def test_no_file_of_the_app_hides_one_of_the_standard_library() -> None:
    assert not {path.stem for path in (ROOT / "app").glob("*.py")} & (set(sys.stdlib_module_names) - {"__init__"})


def test_the_package_and_the_gallery_s_needs_come_without_torch() -> None:
    script = (
        "import sys, genmodels, genmodels.jobs; sys.exit(bool({'torch', 'sklearn', 'streamlit'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_every_module_of_the_package_has_its_place() -> None:
    free = {"__init__", "__main__", "duel", "figures", "media", "trade", "zoo"}
    assert {module(path) for path in SOURCES if room(path) == "genmodels"} <= set(ORDER) | free
