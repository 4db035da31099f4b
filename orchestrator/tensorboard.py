"""The HParams tab of TensorBoard: every trial's searched settings and final scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from orchestrator.records import TrialRecord


def write_hparams(folder: Path, record: TrialRecord) -> None:
    """Add a trial's row to the HParams tab, as part of the trial's own run in `folder`.

    Nothing is written for a trial without a score. Settings that TensorBoard cannot hold
    (lists, None) are shown as text.
    """
    scores = {
        "final/hmean": record.hmean,
        "final/tuned_hmean": record.tuned_hmean,
        "final/iou_hmean": record.iou_hmean,
        "final/epochs": float(record.epochs),
    }
    metrics = {name: value for name, value in scores.items() if value is not None}
    if record.hmean is None or not record.params:
        return
    with SummaryWriter(str(folder)) as writer:
        # run_name="." keeps the row in the trial's run; by default it would be a run of its own.
        writer.add_hparams(
            {key: _plain(value) for key, value in record.params.items()}, metrics, run_name="."
        )


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
