"""The path in what a label file names an image by: a path of any system, a URL, an upload."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

# How Label Studio serves files of its own machine.
_LOCAL = re.compile(r"/local-files/?\?(?:.*&)?d=([^&]*)")
_WEB = re.compile(r"https?://[^/]*/?", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/]*/")


def path_of(reference: Any) -> str:
    """The path with `/`, of a URL the part that names the file, unescaped; "" for what is no text.

    A path of a Windows machine and one below a bucket or a host stay paths of elsewhere: only
    their ends can be found in a dataset.
    """
    if not isinstance(reference, str):
        return ""
    local = _LOCAL.search(reference)
    if local:
        return unquote(local[1])
    if web := _WEB.match(reference):
        return unquote(re.split(r"[?#]", reference[web.end() :])[0])
    if bucket := _BUCKET.match(reference):
        return unquote(reference[bucket.end() :])
    return reference.strip().replace("\\", "/")
