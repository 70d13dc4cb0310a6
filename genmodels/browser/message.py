"""One message from Python to a component: a description and arrays as bytes. `message.js` reads it in the browser."""

import hashlib
import json
from typing import Any, Literal

import numpy as np

from genmodels.browser import HERE, source

Kind = Literal["f4", "u1", "u2", "u4"]
JS = source(HERE, "message.js")  # put before a component's own


def pack(about: dict[str, Any], arrays: dict[str, tuple[Any, Kind]]) -> bytes:
    """Length of the head, head (JSON: `about`; kind, place and bytes of each array; their version), arrays.

    Little-endian, parts padded to whole words. The same content is the same to the byte: a rerun then sends nothing.
    """
    body, places = b"", {}
    for name, (array, kind) in arrays.items():
        part = np.ascontiguousarray(array, f"<{kind}").tobytes()
        places[name] = [kind, len(body), len(part)]
        body += part + bytes(-len(part) % 4)
    version = hashlib.blake2b(body, digest_size=8).hexdigest()
    head = json.dumps(about | {"arrays": places, "version": version}).encode()
    head += b" " * (-len(head) % 4)
    return len(head).to_bytes(4, "little") + head + body
