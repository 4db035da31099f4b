"""The cluster that RAY_ADDRESS names: whether it answers, and whether it lets this computer in.

It is asked before Ray is, which tries for 20 seconds, prints a line for each try, and then says
only that it could not connect. A client of Ray's that is private (`GcsClient`) is as quick as the
request here, but it prints too, ends the process where there is no token, and goes on with the
first token that a process had (Ray 2.60). docs/clusters.md says how a token is handed out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import grpc
from ray._private.services import get_node_ip_address, get_ray_address_from_environment

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
# Any request serves; this is the first one that Ray's own clients make.
FIRST_REQUEST = "/ray.rpc.NodeInfoGcsService/GetClusterId"
MODE = "RAY_AUTH_MODE=token"
COPY = "copy ~/.ray/auth_token from the cluster's head to this computer and `chmod 600` it"


def cluster_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """Where a running cluster is, from RAY_ADDRESS; None means this machine alone."""
    address = environment.get("RAY_ADDRESS", "")
    return address if address not in ("", "local") else None


def cluster_fault(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why no search can join the cluster of RAY_ADDRESS; None where one can, or none is named."""
    named = cluster_address(environment)
    if named is None:
        return None
    try:
        scheme, host, port = _parts(named)
        if not host or not port.isdigit():
            return None
        _connect(host, port)
    except (OSError, ValueError) as error:
        return no_answer(named, error)
    automatic = named == "auto"
    refused = None if scheme else refusal(f"{host}:{port}", environment, automatic=automatic)
    return refused and f"RAY_ADDRESS={named}: {refused}"


def is_of_this_machine_alone(address: str) -> bool:
    """Whether the Ray at an address, or `auto`, listens on loopback only, as that of a search."""
    scheme, host, port = _parts(address)
    if scheme or host not in ("127.0.0.1", "localhost") or not port.isdigit():
        return False
    try:
        _connect(get_node_ip_address(), port)
    except OSError:
        return True
    return False


def _parts(address: str) -> tuple[str, str, str]:
    """Scheme, host and port; `auto` is the cluster that this machine belongs to."""
    if address == "auto":
        address = get_ray_address_from_environment(address, None)
    scheme, _, place = address.rpartition("://")
    host, _, port = place.rpartition(":")
    return scheme, host, port


def _connect(host: str, port: str) -> None:
    socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()


def no_answer(address: str, error: Exception) -> str:
    """The message for a cluster that cannot be reached."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"RAY_ADDRESS={address}: no Ray cluster answers there ({line}); "
        "start one (see cluster.yaml) or unset RAY_ADDRESS to use this machine"
    )


def refusal(
    address: str, environment: Mapping[str, str] = os.environ, *, automatic: bool
) -> str | None:
    """Why the cluster at `host:port` will not let us in, with the remedy; None if it will.

    None also where it cannot be told from here, as with TLS. With `automatic` Ray sends a token
    that it finds; else only if RAY_AUTH_MODE=token. Both are Ray's rules.
    """
    if not _refuses(address, None):
        return None
    token = read_token(environment)
    if token is None:
        return f"the cluster asks for a token, and there is none here; {COPY}, and set {MODE}"
    if environment.get("RAY_AUTH_MODE", "token" if automatic else "").lower() != "token":
        return f"the cluster asks for a token; set {MODE}, so that Ray sends the one that is here"
    if _refuses(address, token):
        return f"the cluster asks for a token, and the one here is not its own; {COPY}"
    return None


def read_token(environment: Mapping[str, str] = os.environ) -> str | None:
    """The token that Ray would send, from the places where Ray looks, in its order."""
    if value := environment.get("RAY_AUTH_TOKEN", "").strip():
        return value
    named = environment.get("RAY_AUTH_TOKEN_PATH")
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
