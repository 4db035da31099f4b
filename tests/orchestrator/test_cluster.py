"""The command on the shipped files, filled in and as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from moto import mock_aws

from detector.core.errors import InputError
from orchestrator.cluster import ClusterSettings, main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's folder in a home with a token, and no keys of AWS but moto's."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").touch()
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    Path("cluster.yaml").write_text(text.replace("==2.60.0", f"=={ray.__version__}"))
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_file_that_can_be_launched_is_told_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("cluster.yaml")
    text = path.read_text(encoding="utf-8")
    mount = text[text.index("  - sudo apt-get install -qq -y nfs") : text.index("# RAY_AUTH_MODE")]
    path.write_text(text.replace(mount, ""), encoding="utf-8")  # a bucket in place of EFS
    with mock_aws():
        assert main(ClusterSettings(file=path)) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err.splitlines()[-1] == "ready: ray up cluster.yaml"
    assert told["cluster"] == "receipts"
    assert told["provider"]["region"] == "us-west-2"
    assert told["machines"]["gpu_worker"] == {
        "head": False,
        "instance_type": "g5.xlarge",
        "spot": True,
        "at_least": 1,
        "at_most": 4,
        "resources": {"CPU": 4, "GPU": 1},
    }
    assert told["machines"]["head"]["head"]


def test_all_faults_are_told_at_once_and_aws_is_not_asked(folder: Path) -> None:
    (folder / ".ray" / "auth_token").unlink()
    path = Path("cluster.yaml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("region: us-west-2", "region: us-wst-2"), encoding="utf-8")
    with mock_aws(), pytest.raises(InputError) as error:
        main(ClusterSettings(file=path))
    placeholder, token, region = str(error.value).splitlines()
    assert "fs-00000000000000000 stands for" in placeholder
    assert "there is no ~/.ray/auth_token" in token
    assert region.startswith("provider.region: us-wst-2 is no region")


def test_a_fault_is_a_message_and_exit_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cluster", "file=none.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none.yaml: cannot be read: No such file or directory\n"
