"""Weight files from timm's hub, without ever waiting long for a network that is not there."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from queue import Empty, Queue

_HUB = "https://huggingface.co"
_DOWNLOAD_LIMIT_S = 600.0
# A process of its own: it can be ended when the network hangs, its time-outs are set by the
# environment, and what it prints stays out of the training's output.
_DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError
repository, *names = sys.argv[1:]
for name in names:
    try:
        print(hf_hub_download(repository, name))
        break
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        continue
else:
    sys.exit(f"{repository} has none of the files {names}")
"""


class HubError(RuntimeError):
    """The hub gives no answer, or has no such weights; the message says which."""


def hub_file(repository: str, filename: str | None, timeout_s: float) -> Path:
    """A weight file of a hub repository, from the local cache or downloaded into it.

    `filename` None means timm's usual names; a .safetensors twin is preferred either way.
    Honours HF_HOME, HF_HUB_OFFLINE and HF_ENDPOINT. Raises HubError, after about `timeout_s`
    seconds at most when the hub gives no answer.
    """
    cached = require_reach(repository, filename, timeout_s)
    return cached or _download(repository, _names(filename), timeout_s)


def require_reach(repository: str, filename: str | None, timeout_s: float) -> Path | None:
    """The cached weight file of a hub repository, or None where the hub answers instead.

    Arguments and errors are those of `hub_file`; nothing is downloaded.
    """
    from huggingface_hub import try_to_load_from_cache

    for candidate in _names(filename):
        cached = try_to_load_from_cache(repository, candidate)
        if isinstance(cached, str):
            return Path(cached)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise HubError("HF_HUB_OFFLINE is set and the weights are not in the local cache")
    endpoint = os.environ.get("HF_ENDPOINT") or _HUB
    silence = _silence(endpoint, timeout_s)
    if silence:
        raise HubError(
            f"{endpoint} gave no answer ({silence}); model.weights=PATH takes weights from a file"
        )
    return None


def _names(filename: str | None) -> list[str]:
    """What a weight file may be called, the preferred name first."""
    original = filename or "pytorch_model.bin"
    safe = "model.safetensors" if filename is None else f"{Path(filename).stem}.safetensors"
    return list(dict.fromkeys([safe, original]))


@lru_cache(maxsize=16)
def _silence(endpoint: str, timeout_s: float) -> str:
    """Why a server does not answer, empty if it does; asked once per process.

    Name resolution has no time-out of its own, so the question is put in a thread that may
    be left behind.
    """
    reasons: Queue[str] = Queue()

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")
            urllib.request.urlopen(request, timeout=timeout_s).close()
        except urllib.error.HTTPError:
            reasons.put("")  # an answer, if not a friendly one
        except TimeoutError:
            reasons.put(f"waited {timeout_s:g} s")
        except (OSError, ValueError, HTTPException) as error:
            reasons.put(str(getattr(error, "reason", error)) or type(error).__name__)
        else:
            reasons.put("")

    threading.Thread(target=ask, daemon=True).start()
    try:
        return reasons.get(timeout=timeout_s)
    except Empty:
        return f"waited {timeout_s:g} s"


def _download(repository: str, names: list[str], timeout_s: float) -> Path:
    seconds = str(max(1, math.ceil(timeout_s)))
    settings = {
        "HF_HUB_DOWNLOAD_TIMEOUT": seconds,
        "HF_HUB_ETAG_TIMEOUT": seconds,
        "HF_HUB_DISABLE_XET": "1",  # its transfers do not obey the time-outs
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DOWNLOAD, repository, *names],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HubError(
            f"the download of {repository} did not end within {_DOWNLOAD_LIMIT_S:g} s"
        ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HubError(f"the download of {repository} failed ({reason})")
    return Path(done.stdout.strip().splitlines()[-1])
