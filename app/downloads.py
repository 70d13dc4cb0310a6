"""Files to keep, made when they are asked for, and beside them `reproduce.py`: the script that makes them again.

A page is a function of its address: who opens the same address on the same runs gets the same files. So the script
holds the address and opens the page without a browser; nothing is written twice, and no picture is left out.
"""

import hashlib
import io
import logging
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app import collected
from app.charts import spoken
from app.pictures import DOWNLOAD
from app.state import ROOT, SPACE, page_file, plain
from genmodels.config import UserError
from genmodels.files import in_space, space_now
from genmodels.ranking import cell
from genmodels.reproduction import assigned, begun, fingerprint, safe
from genmodels.runs import by_id

UNMADE = "files-unmade"  # in the session: why files that were asked for could not be made
OFFERED = "files-offered"  # in the session of a script: what the page offers, by name
GIVEN = "picture-given"  # a picture of one's own, as the model reads it: uint8 (C, H, W)
NAMES_RUNS = ("run", "run2", "runs")
PRIVATE = (SPACE,)  # in an address: never in a file that is given to somebody
TAKE_PICTURES = ("denoising", "translate", "complete")
CODE = ":material/code:"
PATIENCE = 3600  # seconds that a page may take
SCRIPT = '''"""Makes again what the page {page} of Latent Lab offered: {names}.

    cd latent-lab                                # the folder of Latent Lab
    .venv/bin/python path/of/this/reproduce.py   # and, if you like, the folder to write to

The page is opened at the address that it had, without a browser, and writes its files. The runs have to be there:
import their zips, or make them again with their own scripts. RUNS are hashes of their weights, FILES of the files.
"""

import logging

logging.disable(logging.WARNING)  # Streamlit would say many times that no browser is there
{begun}

{written}

if __name__ == "__main__":
    sys.exit(again(PAGE, ADDRESS, RUNS, FILES{given}, folder=sys.argv[1:]))
'''


class File(NamedTuple):
    """title: on the button. name: of the file, whose ending says what it is."""

    title: str
    name: str
    make: Callable[[], bytes]
    help: str | None = None


def offer(page: str, *files: File) -> None:
    """A button for each file that this page can make, and one for the script that makes them again."""
    if (offered := st.session_state.get(OFFERED)) is not None:
        offered.update({file.name: file.make for file in files})
    address = {name: st.query_params.get_all(name) for name in st.query_params if name not in PRIVATE}
    given = st.session_state.get(GIVEN) if page in TAKE_PICTURES else None
    with st.container(horizontal=True, vertical_alignment="center"):
        for file in files:
            button(file)
        again = partial(script, page, address, given, files)
        words = "The script that makes these files again, from the run."
        button(File("reproduce.py", "reproduce.py", again, words), f"script-{files[0].name}", "tertiary")


def button(file: File, key: str = "", type: Literal["secondary", "tertiary"] = "secondary") -> None:
    """One file, made in the visitor's own space when it is asked for."""
    kind = "text/x-python" if file.name.endswith(".py") else guess_type(file.name)[0] or "application/octet-stream"
    unmade = st.session_state.setdefault(UNMADE, [])
    session = getattr(get_script_run_ctx(suppress_warning=True), "session_id", None)
    make = partial(_within, space_now(), partial(_tell, unmade, session), file.make)
    st.download_button(
        file.title, make, file.name, kind, f"get-{key or file.name}", file.help,
        icon=CODE if file.name.endswith(".py") else DOWNLOAD, on_click="ignore", type=type,
    )  # fmt: skip


def say_unmade() -> None:
    """Why the last files that were asked for could not be made."""
    unmade = st.session_state.get(UNMADE, [])
    while unmade:
        st.toast(plain(unmade.pop()), icon=":material/error:", duration="infinite")


def _within(space: str | None, tell: Callable[[str], None], make: Callable[[], bytes]) -> bytes:
    """A file is made when it is asked for, where no session says whose it is. Raises UserError, which is told."""
    try:
        with in_space(space):
            return make()
    except UserError as error:
        tell(str(error))
        raise


def _tell(unmade: list[str], session: str | None, words: str) -> None:
    """Why there is no file: Streamlit says only that there is none, so the page of that session is drawn again."""
    unmade.append(words)
    page = runtime.get_instance().get_app_session(session) if session and runtime.exists() else None
    if page:  # Streamlit has no other way to do so from outside of the page's own thread
        page._call_soon_on_event_loop(lambda: page.request_rerun(page._client_state))


def _unexpected(record: logging.LogRecord) -> bool:
    """Whether what went wrong belongs into the log: not where a visitor was told what to do."""
    return not (record.exc_info and record.exc_info[1] and isinstance(record.exc_info[1].__cause__, UserError))


logging.getLogger("streamlit.runtime.backend_operation_handler").addFilter(_unexpected)


def given(image: np.ndarray | None) -> np.ndarray | None:
    """A picture of one's own, uint8 (C, H, W) as the model reads it, or None: no address holds it, so a script will.

    In a script, which nobody gives a picture, it is the one that the script holds.
    """
    if OFFERED in st.session_state:
        return st.session_state.get(GIVEN) if image is None else image
    st.session_state[GIVEN] = image
    return image


@contextmanager
def keeping(page: str, name: str) -> Iterator[None]:
    """Every picture that is drawn inside can be kept: one button below, for all of them in a zip of that name."""
    with collected.collecting() as drawn:
        yield
    if drawn:
        offer(page, File("Pictures", f"{name}.zip", lambda: zipped(drawn), "Every picture above, as a PNG each."))


def zipped(files: Sequence[tuple[str, Callable[[], bytes]]]) -> bytes:
    """Pictures, each named by its number and what it is. The same pictures are the same file to the byte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (what, make) in enumerate(files, 1):
            words = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")[:60].strip("-")
            name = f"{number:03}-{words}.png" if words else f"{number:03}.png"
            archive.writestr(zipfile.ZipInfo(name), make())  # without the time of day
    return buffer.getvalue()


def spreadsheet(columns: Mapping[str, Sequence[str]]) -> bytes:
    """A table as CSV: words only, no formula and no sign of Markdown."""
    frame = pd.DataFrame({name: [cell(spoken(each)) for each in values] for name, values in columns.items()})
    return frame.to_csv(index=False).encode("utf-8-sig")  # with the mark by which a spreadsheet knows it is UTF-8


def script(page: str, address: Mapping[str, Sequence[str]], given: np.ndarray | None, files: Sequence[File]) -> bytes:
    """The script that makes these files again. Each is made now, to say what should come out."""
    parts = {
        "PAGE": page,
        "ADDRESS": {name: values[0] if len(values) == 1 else list(values) for name, values in address.items()},
        "RUNS": {run_id: fingerprint(by_id(run_id)) for run_id in _runs(address)},
        "FILES": {file.name: hashlib.sha256(file.make()).hexdigest() for file in files},
    }
    if given is not None:
        parts["GIVEN"] = given.tolist()
    written = "\n".join(assigned(name, value) for name, value in parts.items())
    names = ", ".join(safe(file.name) for file in files)
    end = ", GIVEN" if given is not None else ""
    begin = begun("from app.downloads import again")
    return SCRIPT.format(names=names, page=page, begun=begin, written=written, given=end).encode()


def _runs(address: Mapping[str, Sequence[str]]) -> list[str]:
    """Ids of the runs that an address names, each once."""
    named = (each for name in NAMES_RUNS for value in address.get(name, ()) for each in value.split(","))
    return list(dict.fromkeys(filter(None, named)))


def again(
    page: str, address: Mapping[str, str | list[str]], weights: Mapping[str, str], files: Mapping[str, str],
    given: list[Any] | None = None, folder: Sequence[str] = (),
) -> int:  # fmt: skip
    """What the script calls: open the page at this address, write the files. -> 0 where all are as they were, else 1.

    weights: of the runs that the address names. given: a picture of one's own, as the model read it, which no address
    holds. folder: to write to; else the one it is run in.
    """
    try:
        for run_id, expected in weights.items():
            if fingerprint(by_id(run_id)) != expected:
                print(f"The run {run_id} has other weights here: its files will differ.", file=sys.stderr)
        offered = _opened(page, address, given)
        place, same = Path(*folder[:1]), True
        for name, expected in files.items():
            content = offered[name]()
            (place / name).write_bytes(content)
            as_it_was = hashlib.sha256(content).hexdigest() == expected
            print(f"{place / name}: {'as it was' if as_it_was else 'not as it was'}")
            same = same and as_it_was
        return 0 if same else 1
    except KeyError as error:
        print(f"The page {page} offers no file {error} at this address here: another version may.", file=sys.stderr)
    except UserError as error:
        print(error, file=sys.stderr)
    return 1


def _opened(
    page: str, address: Mapping[str, str | list[str]], given: list[Any] | None
) -> dict[str, Callable[[], bytes]]:
    """What the page offers at that address: files by name. Raises UserError with what the page says instead."""
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=PATIENCE).run()
    app.query_params.clear()
    app.query_params.update(address)
    offered: dict[str, Callable[[], bytes]] = {}
    app.session_state[OFFERED] = offered
    if given is not None:
        app.session_state[GIVEN] = np.array(given, np.uint8)
    app.switch_page(page_file(page)).run()
    for words in (app.exception, app.error):
        if words and not offered:
            raise UserError(str(words[0].value))
    return offered
