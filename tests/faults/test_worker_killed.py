"""The process of a training killed in the middle of an epoch, and a checkpoint that breaks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from chaos_runs import Run, losses
from chaos_search import ACCOUNT
from safetensors.torch import load_file

from orchestrator.run.study import stored_study
from orchestrator.store.storage import storage_url

pytestmark = pytest.mark.faults


def trained(run: Run) -> tuple[Path, dict[int, float], dict[str, torch.Tensor]]:
    """The only trial's folder, its learning curve, and its whole state: weights to random state."""
    assert run.completed() == 0, run.said()
    study = stored_study(storage_url(run.folder, None), "run")
    (folder,) = run.folder.glob("trials/*")
    state = load_file(folder / "checkpoint" / "last.safetensors")
    return folder, study.trial(0).intermediate_values, state


def test_a_killed_training_equals_an_uninterrupted_one_bit_for_bit(start_run):
    """Killed in epoch 2; then in epoch 4, with the state after epoch 3 cut short on disk."""
    settings = {"kind": "detector", "trials": 1, "epochs": 4, "grace": 4}
    _, curve, state = trained(start_run(**settings))
    hurt = start_run(**settings, troubles={"0/2": "killed", "0/4": "corrupted"})
    folder, other_curve, other_state = trained(hurt)
    assert other_curve == curve
    assert sorted(curve) == [1, 2, 3, 4]
    assert {"rng/cpu", "optimizer/0/exp_avg"} <= state.keys() == other_state.keys()
    assert any(name.startswith("ema/") for name in state)
    assert [name for name in state if not torch.equal(state[name], other_state[name])] == []
    assert losses(hurt, [], faults=2) == []
    account = (folder / ACCOUNT).read_text().split("\n")
    assert account.count("start") == 3
    # Epoch 3 was done again, from the state before it: nothing began at epoch 1.
    assert [line for line in account if line.startswith("epoch")] == [
        *("epoch 1", "epoch 2", "epoch 3"),
        *("epoch 3", "epoch 4"),
    ]
    said = (folder / "log.txt").read_text()
    assert "resuming after epoch 1 of 4" in said
    assert "last.safetensors is broken (it has " in said
    assert "previous.safetensors, the state before" in said
    assert "resuming after epoch 2 of 4" in said
