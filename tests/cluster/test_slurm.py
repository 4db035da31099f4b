"""`clusters/slurm.sbatch` for real: Debian's Slurm with two machines on this one.

They live in namespaces of their own; what is done there is `run_slurm.py`. Without Slurm,
`tests/test_slurm_script.py` runs the script all the same, on one machine.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from apart import WITH_INIT, missing, story

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
PROGRAMS = ("unshare", "ip", "mount", "munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
STORY_S = 2400  # five minutes where nothing else runs


@pytest.mark.timeout(STORY_S + 60)
def test_a_job_goes_on_after_all_that_happens_to_it(tmp_path, make_dataset):
    if reason := missing(PROGRAMS):
        pytest.skip(reason)
    pages = make_dataset(tmp_path / "pages", pages=6)
    make_dataset(pages, split="val", pages=2)
    work = tmp_path / "work"
    work.mkdir()
    done = story(HERE / "run_slurm.py", work, pages, apart=WITH_INIT, seconds=STORY_S)
    logs = (path.read_text(errors="replace")[-2000:] for path in work.glob("receipts-*.log"))
    assert done.returncode == 0, "\n".join((done.stderr[-3000:], *logs))
    found = json.loads(done.stdout)
    check_hurt(found)
    check_ends(found)
    assert found["left"] == []
    assert found["processes"] == []


def check_hurt(found: dict) -> None:
    """Each fault cost its trial nothing but time, and the end is that of a search left alone."""
    hurt = found["hurt"]
    assert hurt["token"] == "0o600"
    assert hurt["machines"] == 2
    assert hurt["end"] == {"state": "COMPLETED", "restarts": 3, "code": 0}
    assert all(len(epochs) == 1 and 2 <= epochs[0] <= 5 for epochs in hurt["resumed"])
    assert hurt["log"].count("goes back into the queue") == 2  # the third time Slurm put it there
    starts = re.findall(r"searches with Ray at \S+: name=hurt (.*)\n", hurt["log"])
    assert starts == ["", *["resume=true"] * 3]
    assert found["calm"] == {"state": "COMPLETED", "restarts": 0, "code": 0}
    assert len(found["boards"]["calm"]) == 4
    assert found["boards"]["hurt"] == found["boards"]["calm"]
    assert len(found["weights"]["calm"]) == 4
    assert found["weights"]["hurt"] == found["weights"]["calm"]


def check_ends(found: dict) -> None:
    """What is wrong ends at once; what a user ends stays ended, until it is given again."""
    assert found["wrong"]["ends"] == [{"state": "FAILED", "restarts": 0, "code": 2}] * 2
    typed, more = found["wrong"]["logs"]
    assert "error: budget.trails: unknown key" in typed
    assert "budget.trials=+1 would add trials at each start of the job" in more
    assert found["pair"]["ends"] == [{"state": "COMPLETED", "restarts": 0, "code": 0}] * 2
    first, second = found["pair"]["addresses"]
    assert len({*first, *second}) == 2
    assert found["cancelled"]["first"]["state"] == "CANCELLED"
    assert found["cancelled"]["first"]["restarts"] == 0
    assert found["cancelled"]["second"] == {"state": "COMPLETED", "restarts": 0, "code": 0}
    assert "name=again resume=true\n" in found["cancelled"]["log"]
