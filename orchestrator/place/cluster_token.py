"""Whether a cluster lets this computer in: Ray's token authentication, asked before Ray is.

Ray itself tries for 20 seconds, prints a line for each try, and then says only that it could not
connect. See docs/clusters.md for how a token is made and handed out.
"""

from __future__ import annotations

import os
from pathlib import Path

import grpc

ANSWER_TIMEOUT_S = 10.0
# Any request serves; this is the first one that Ray's own clients make.
FIRST_REQUEST = "/ray.rpc.NodeInfoGcsService/GetClusterId"
MODE = "RAY_AUTH_MODE=token"
COPY = "copy ~/.ray/auth_token from the cluster's head to this computer and `chmod 600` it"


def refusal(address: str, *, automatic: bool) -> str | None:
    """Why the cluster at `host:port` will not let us in, with the remedy; None if it will.

    None also where it cannot be told from here, as with TLS. With `automatic` Ray sends a token
    that it finds; else only if RAY_AUTH_MODE=token. Both are Ray's rules.
    """
    if not _refuses(address, None):
        return None
    token = read_token()
    if token is None:
        return f"the cluster asks for a token, and there is none here; {COPY}, and set {MODE}"
    if os.environ.get("RAY_AUTH_MODE", "token" if automatic else "").lower() != "token":
        return f"the cluster asks for a token; set {MODE}, so that Ray sends the one that is here"
    if _refuses(address, token):
        return f"the cluster asks for a token, and the one here is not its own; {COPY}"
    return None


def read_token() -> str | None:
    """The token that Ray would send, from the places where Ray looks, in its order."""
    if value := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return value
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def keep_private(path: Path) -> None:
    """Take a token file from other users, who could run anything as its owner with it.

    Ray writes it readable by all.
    """
    if path.is_file() and path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _refuses(address: str, token: str | None) -> bool:
    """Whether a first request to `host:port` with this token is called unauthenticated."""
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(FIRST_REQUEST)
        try:
            ask(b"", timeout=ANSWER_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAUTHENTICATED)
    return False
