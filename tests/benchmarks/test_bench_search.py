"""The command: its table, its file and its messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bench_search
import pytest
import replay
import timing

from detector.core.errors import InputError

SCRIPT = Path(bench_search.__file__)


def outcome(seed, epochs, *, reached=True, curve=0.5):
    return replay.Outcome(
        seed=seed,
        epochs=epochs,
        reached=reached,
        counted=epochs if reached else 100,
        curve=[curve] * len(replay.CURVE_EPOCHS),
        seconds=1.0,
    )


FOUND = {
    "ray": [outcome(0, 40), outcome(1, 60), outcome(2, 100, reached=False)],
    # The last one ended by itself: its 7 epochs are no figure.
    "ours": [outcome(0, 10), outcome(1, 20, curve=0.7), outcome(2, 7, reached=False, curve=0.6)],
}


def test_the_table_shows_what_was_not_reached_as_at_least_the_cap(drawn_table):
    lines = bench_search.tables(replay.read_table(drawn_table), FOUND, cap=100).splitlines()
    assert lines[0].startswith("12 trainings of 3 epochs, 4 settings. Best H-mean 0.80")
    ray, ours = lines[4:6]
    assert ray == "| ray | 3 | 60 | 50 to 80 | 40 to ≥ 100 | 1 |  |  |"
    assert ours.startswith("| ours | 3 | 20 | 15 to 60 | 10 to ≥ 100 | 1 | 0.333 (")
    assert "| 0.650 (" in ours  # 130 / 200
    assert lines[7] == "| epochs of ours over those of | medians | means |"
    assert lines[9].startswith("| ray | 0.333 (")
    assert "| 0.650 (" in lines[9]
    assert lines[11] == "| H-mean after epochs | 10 | 20 | 40 | 80 | 160 | 320 |"
    assert lines[-1] == "| ours |" + " 0.6000 |" * 6
    assert len({line.count("|") for line in lines[2:6]}) == 1


def test_without_rays_policy_there_is_nothing_to_compare_with(drawn_table):
    text = bench_search.tables(replay.read_table(drawn_table), {"ours": FOUND["ours"]}, cap=100)
    assert "| ours | 3 | 20 | 15 to 60 | 10 to ≥ 100 | 1 |  |  |" in text


def command(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parents[1],
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["policies=ray,mine"], "policies: 'mine' is not one of ray, ours, ray-nested, "),
        (["grace=4"], "grace: must not exceed the table's 3 epochs, got 4"),
        (["unit=hours"], "unit: must be one of epochs, seconds, got 'hours'"),
        (["within=1.5"], "within: must be an H-mean from 0 to below 1, got 1.5"),
        (["factor=1"], "factor: must be a whole number from 2, got 1"),
        (
            ["policies=ours,pasha,random", "concurrent=2"],
            "concurrent: pasha, random trains one at a time, got 2; leave it at 1, or give",
        ),
    ],
)
def test_a_wrong_option_is_one_message(drawn_table, arguments, message, capsys):
    table = [f"table={drawn_table}"]
    with pytest.raises(InputError) as caught:
        bench_search.main(timing.options([*table, *arguments], bench_search.DEFAULTS))
    assert str(caught.value).startswith(message)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.ray
def test_the_command_replays_and_keeps_every_seed(drawn_table, tmp_path):
    output = tmp_path / "search.json"
    done = command(f"table={drawn_table}", "seeds=1", "cap=20", f"output={output}")
    assert (done.returncode, done.stderr) == (0, "")
    kept = json.loads(output.read_text())
    assert kept["options"]["cap"] == 20
    assert list(kept["outcomes"]) == ["ray", "ours"]
    for name, outcomes in kept["outcomes"].items():
        assert [o["seed"] for o in outcomes] == [0]
        assert all(o["counted"] == (o["epochs"] if o["reached"] else 20) for o in outcomes)
        assert f"| {name} | 1 | " in done.stdout
    means = [sum(o["counted"] for o in kept["outcomes"][name]) for name in ("ours", "ray")]
    assert kept["ratios"]["ours"]["means"]["value"] == pytest.approx(means[0] / means[1])
    assert kept["facts"]["configs"] == 12
