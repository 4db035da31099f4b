"""What a trial that is over adds to TensorBoard: its row in HParams, and its box_thresh curve.

The row is made of TensorBoard's own messages. `SummaryWriter.add_hparams` describes the settings
of one trial only, and TensorBoard takes the first description it meets for all trials, so settings
that only some trials have would be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)

from detector.training.event_files import write_events
from detector.training.monitor import box_thresh_scalars
from orchestrator.space.parameters import Parameter
from orchestrator.trials.records import TrialRecord, TrialState

STATE = "state"  # the column that tells finished trials from those that stopped early
METRICS = {
    "hmean": ("H-mean", "CLEval, mean over the validation pages"),
    "hmean_pooled": ("pooled H-mean", "CLEval, official dialect: summed over all pages"),
    "iou_hmean": ("IoU H-mean", "words found at IoU 0.5"),
    "precision": ("precision", "CLEval"),
    "recall": ("recall", "CLEval"),
    "latency_ms": ("latency, ms", "of a validation page, network and post-processing"),
    "params_m": ("parameters, millions", "weights of the network"),
}


def write_trial(folder: Path, record: TrialRecord, parameters: Mapping[str, Parameter]) -> None:
    """Add a trial that is over to TensorBoard, as part of the trial's own run in `folder`.

    That is a row in HParams and its figures as `final/...`, those of its best epoch, and the
    H-mean at each box_thresh where the training kept it. `parameters` are the searched ones of
    the run. Nothing is written for a trial without a score.
    """
    if record.hmean is None:
        return
    figures = {f"final/{name}": getattr(record, name) for name in METRICS}
    scalars = [Summary.Value(tag=k, simple_value=v) for k, v in figures.items() if v is not None]
    parts = [(0, [_experiment(parameters)]), (0, [_session_start(record, parameters)])]
    parts.append((record.epochs, scalars))
    parts += [(percent, [value]) for percent, value in box_thresh_scalars(folder).items()]
    parts.append((0, [_session_end(record)]))
    write_events(folder, [Event(step=step, summary=Summary(value=v)) for step, v in parts])


def _experiment(parameters: Mapping[str, Parameter]) -> Summary.Value:
    """The columns of HParams: the same from every trial of a run."""
    state = api_pb2.HParamInfo(name=STATE, type=api_pb2.DATA_TYPE_STRING, differs=True)
    state.domain_discrete.extend([s.value for s in TrialState if s.is_over])
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=f"final/{name}"), display_name=title, description=note
        )
        for name, (title, note) in METRICS.items()
    ]
    columns = [state, *map(_column, parameters.values())]
    experiment = api_pb2.Experiment(hparam_infos=columns, metric_infos=metrics)
    return _value(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))


def _column(parameter: Parameter) -> api_pb2.HParamInfo:
    kinds = {True: api_pb2.DATA_TYPE_FLOAT64, False: api_pb2.DATA_TYPE_STRING}
    column = api_pb2.HParamInfo(
        name=parameter.key,
        type=kinds[_is_numeric(parameter)],
        differs=len(set(map(repr, parameter.values))) > 1,  # those that do are shown first
    )
    if parameter.kind == "choice":
        column.domain_discrete.extend([_shown(v, parameter) for v in parameter.values])
    else:
        column.domain_interval.min_value, column.domain_interval.max_value = parameter.values
    return column


def _session_start(record: TrialRecord, parameters: Mapping[str, Parameter]) -> Summary.Value:
    start = SessionStartInfo(group_name=record.trial)
    start.hparams[STATE].string_value = record.state.value
    for key, value in record.params.items():
        shown = _shown(value, parameters.get(key))
        if isinstance(shown, str):
            start.hparams[key].string_value = shown
        else:
            start.hparams[key].number_value = shown
    return _value(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))


def _session_end(record: TrialRecord) -> Summary.Value:
    failed = record.state is TrialState.FAILED
    end = SessionEndInfo(status=api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS)
    return _value(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def _value(tag: str, content: HParamsPluginData) -> Summary.Value:
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content))


def _is_numeric(parameter: Parameter) -> bool:
    """Whether all values are numbers; a column is of one kind, so one `null` makes it text."""
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in parameter.values)


def _shown(value: Any, parameter: Parameter | None) -> float | str:
    """A number, or text as the command line writes it: `null`, `true`, `[1, 2]`."""
    if parameter is not None and _is_numeric(parameter):
        return float(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
