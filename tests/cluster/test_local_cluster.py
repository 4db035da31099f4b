"""`cluster.local.yaml` for real: a head and two workers, each a machine of its own to Ray.

The machines are namespaces of this one's kernel (`nodes.py`); what they do is `run_local.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from apart import missing, story

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
PROGRAMS = ("unshare", "ip", "mount", "ssh", "ssh-keygen", "rsync", "/usr/sbin/sshd")
STORY_S = 1500  # a minute and a half where nothing else runs


@pytest.mark.timeout(STORY_S + 60)
def test_a_search_outlives_a_worker_and_a_stranger_is_refused(tmp_path, make_dataset):
    if reason := missing(PROGRAMS):
        pytest.skip(reason)
    if not Path("/etc/skel/.profile").is_file():
        pytest.skip("/etc/skel/.profile is missing, which new users get on Debian")
    pages = make_dataset(tmp_path / "pages", pages=6)
    make_dataset(pages, split="val", pages=2)
    work = tmp_path / "work"
    work.mkdir()
    done = story(HERE / "run_local.py", work, pages, seconds=STORY_S)
    log = work / "search.log"
    told = f"{done.stderr[-3000:]}\n{log.read_text()[-3000:] if log.is_file() else ''}"
    assert done.returncode == 0, told
    found = json.loads(done.stdout)
    check_token(found)
    check_search(found["search"])
    assert found["left"] == []


def check_token(found: dict) -> None:
    """The token is everywhere, private, and without it there is one clear refusal."""
    assert found["token_modes"] == ["0o600"] * 3
    assert found["same_token"]
    (error,) = found["stranger"]["errors"]
    assert "RAY_ADDRESS=198.18.0.2:6379: the cluster asks for a token" in error
    assert "RAY_AUTH_MODE=token" in error
    assert found["stranger"]["code"] != 0
    assert found["stranger"]["noise"] == []


def check_search(search: dict) -> None:
    """All machines trained; the lost trial went on from its last epoch; all are finished."""
    assert search["code"] == 0
    assert all(search["trials_of"].values())
    assert search["victim"] in ("one", "two")
    lost = search["lost"]
    # One more epoch may have been saved between the last look and the end.
    assert search["resumed_after"] in ([lost["epoch"]], [lost["epoch"] + 1])
    assert search["states"] == ["finished"] * 5
    assert search["epochs"] == [10] * 5
    assert search["reasons"] == [None] * 5
    assert search["leaderboard"]
    assert search["best"]
