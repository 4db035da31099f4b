from __future__ import annotations

import json

import pytest

from orchestrator.trials.records import TrialRecord, TrialState


def test_state_reads_as_its_value() -> None:
    assert str(TrialState.STOPPED) == "stopped"
    assert f"{TrialState('failed')}" == "failed"


def test_record_survives_json() -> None:
    record = TrialRecord(
        "00003",
        TrialState.FINISHED,
        {"optimizer.lr": 1e-3, "model.backbone": "resnet18", "postprocess.dilate": True},
        hmean=0.9,
        precision=0.8,
        recall=1.0,
        hmean_pooled=0.88,
        iou_hmean=0.7,
        tuned_hmean=0.95,
        crossfit_hmean=0.91,
        tuned={"postprocess.box_thresh": 0.55},
        epochs=4,
        best_epoch=3,
        seconds=12.5,
        params_m=11.2,
        latency_ms=41.5,
        checkpoint="trials/00003/best",
        page_hmeans=(0.5, 1.0),
        confirmed=(0.875, 0.9),
    )
    assert TrialRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_record_of_a_failed_trial_keeps_its_reason() -> None:
    record = TrialRecord("00001", TrialState.FAILED, reason="JobError: loss is nan")
    plain = record.to_dict()
    assert plain["state"] == "failed"
    assert plain["hmean"] is None
    assert plain["page_hmeans"] is None
    assert TrialRecord.from_dict(plain) == record


def test_unknown_keys_of_a_later_version_are_left_out() -> None:
    record = TrialRecord.from_dict({"trial": 7, "state": "running", "colour": "red"})
    assert record == TrialRecord("7", TrialState.RUNNING)


def test_missing_state_and_unknown_state_are_refused() -> None:
    with pytest.raises(KeyError, match="state"):
        TrialRecord.from_dict({"trial": "1"})
    with pytest.raises(ValueError, match="'lost' is not a valid TrialState"):
        TrialRecord.from_dict({"trial": "1", "state": "lost"})


def test_records_do_not_share_params() -> None:
    assert (
        TrialRecord("1", TrialState.PENDING).params
        is not TrialRecord("2", TrialState.PENDING).params
    )
