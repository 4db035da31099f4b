"""Clusters that are not there, and a real Ray that asks for a token: none, another, or its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import ray

from orchestrator.place.joining import (
    cluster_address,
    cluster_fault,
    keep_private,
    read_token,
    refusal,
)

OTHER = "0" * 64


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", None), ("local", None), ("auto", "auto"), ("10.0.0.1:6379", "10.0.0.1:6379")],
)
def test_the_address_comes_from_the_environment(monkeypatch, value, expected):
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() == expected
    assert cluster_address({}) is None


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_named_at_once(scheme):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: nobody answers
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        fault = cluster_fault({"RAY_ADDRESS": address})
    assert fault.startswith(f"RAY_ADDRESS={address}: no Ray cluster answers there (")
    assert fault.endswith("or unset RAY_ADDRESS to use this machine")


@pytest.fixture(scope="module")
def address(ray_cluster) -> str:
    """Where the tests' Ray is, and that it asks for a token, as Ray's own default is."""
    assert ray_cluster
    return ray.get_runtime_context().gcs_address


@pytest.fixture(scope="module")
def right(address) -> str:
    assert address
    token = read_token()
    assert token is not None
    return token


@pytest.fixture
def home(right, tmp_path, monkeypatch) -> Path:
    """A computer of its own: nothing known of the cluster but where it is."""
    assert right
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_token(home: Path, token: str) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(f"{token}\n", encoding="utf-8")


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("automatic", [False, True])
def test_no_token_no_entry(address, automatic):
    assert "there is none here; copy ~/.ray/auth_token" in refusal(address, automatic=automatic)


def test_a_token_of_another_cluster(address, home, monkeypatch):
    write_token(home, OTHER)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "the one here is not its own" in refusal(address, automatic=False)


def test_a_token_that_ray_does_not_send_by_itself(address, home, right):
    write_token(home, right)
    assert "set RAY_AUTH_MODE=token" in refusal(address, automatic=False)
    assert refusal(address, automatic=True) is None


@pytest.mark.parametrize("where", ["home", "path", "value"])
def test_the_right_token_from_each_place_that_ray_knows(address, home, right, where, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    if where == "home":
        write_token(home, right)
    elif where == "path":
        (home / "elsewhere").write_text(right)
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "elsewhere"))
    else:
        write_token(home, OTHER)
        monkeypatch.setenv("RAY_AUTH_TOKEN", right)
    assert refusal(address, automatic=False) is None


@pytest.mark.usefixtures("home")
def test_a_search_says_it_in_one_message_at_once(address):
    fault = cluster_fault({"RAY_ADDRESS": address})
    assert fault.startswith(f"RAY_ADDRESS={address}: the cluster asks for a token")


def test_where_nobody_answers_ray_is_left_to_say_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening
        assert refusal(f"127.0.0.1:{free.getsockname()[1]}", automatic=False) is None


def test_a_token_is_made_private(tmp_path):
    path = tmp_path / "auth_token"
    keep_private(path)  # there is none: nothing to do
    path.write_text("secret")
    path.chmod(0o644)
    keep_private(path)
    assert path.stat().st_mode & 0o777 == 0o600
