from __future__ import annotations

import pickle
from pathlib import Path

import optuna
import pytest
from onnx_graphs import detector_file
from optuna.distributions import FloatDistribution, IntDistribution

from detector.config.settings import TrainConfig, with_values
from detector.core.errors import InputError
from detector.inference.checkpoint import save_best
from detector.inference.networks import new_model
from orchestrator.config.budget import BudgetConfig
from orchestrator.space.search_space import SearchSpace, load_space

BASE = """\
description: a small space
fixed:
  augment.crop_px: 320
parameters:
  optimizer.lr: {log_uniform: [1e-4, 1e-2]}
  postprocess.box_thresh: {uniform: [0.3, 0.6]}
  model.fusion: {choice: [none, scale_spatial]}
  loss.negative_ratio: {uniform: [2, 5], when: {model.fusion: scale_spatial}}
warm_start:
  - optimizer.lr: 0.001
    model.fusion: scale_spatial
    loss.negative_ratio: 3
budget: {trials: 7, epochs: 9, grace_epochs: 3}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(folder: Path, text: str = BASE, **options: object) -> SearchSpace:
    return load_space(write(folder, text), **{"gpu": True, **options})  # type: ignore[arg-type]


def faults(folder: Path, text: str, **options: object) -> list[str]:
    """The messages without the folder: `5: key: ...` or `command line: ...`."""
    with pytest.raises(InputError) as caught:
        load(folder, text, **options)
    return [
        line.removeprefix(f"{folder / 'space.yaml'}:") for line in str(caught.value).splitlines()
    ]


def parameter(spec: str, key: str = "postprocess.box_thresh") -> str:
    return f"parameters:\n  {key}: {spec}\n"


def test_what_a_whole_detector_does_not_read_is_not_searched(tmp_path: Path) -> None:
    """Its network is in its file; a network of ours by its weights is still that of model.*."""
    whole = load(tmp_path, overrides={"train.init": "ppocrv6_small"})
    assert list(whole.parameters) == ["optimizer.lr", "postprocess.box_thresh"]
    assert "model.fusion is not searched: it needs another train.init" in whole.notes
    assert whole.warm_start == ({"optimizer.lr": 0.001},)
    ours = load(tmp_path, overrides={"train.init": "runs/a"})
    assert "model.fusion" in ours.parameters


def test_what_kept_weights_of_a_whole_detector_do_not_read_is_not_searched(tmp_path: Path) -> None:
    """Their network is kept beside them, whatever the file that it was read from became."""
    pytest.importorskip("onnx", reason="needs the extra onnx")
    path = detector_file(tmp_path / "start.onnx")
    config = with_values(TrainConfig(), {"train.init": str(path)})
    network = new_model(config)
    best = tmp_path / "best"
    save_best(best, network.state_dict(), config, {}, network.metadata())
    path.unlink()
    fixed = load(tmp_path, overrides={"train.init": str(best)})
    assert list(fixed.parameters) == ["optimizer.lr", "postprocess.box_thresh"]
    several = BASE.replace(
        "parameters:", f"parameters:\n  train.init: {{choice: [ppocrv6_small, {best}]}}"
    )
    several = several.replace("- optimizer.lr", f"- train.init: {best}\n    optimizer.lr")
    assert "model.fusion" not in load(tmp_path, several).parameters
    with_ours = several.replace("[ppocrv6_small,", "[none,")
    assert "model.fusion" in load(tmp_path, with_ours).parameters


def test_a_point_has_what_its_settings_depend_on(tmp_path: Path) -> None:
    """Else the sampler could draw it so that they do not apply, and the point would be another."""
    text = (
        "parameters:\n  train.init: {choice: [ppocrv6_small, none]}\n"
        "  model.fusion: {choice: [none, scale_spatial], when: {train.init: none}}\n"
        "  loss.negative_ratio: {uniform: [2, 5], when: {model.fusion: scale_spatial}}\n"
        "  optimizer.lr: {uniform: [0.1, 0.2]}\n"
        "warm_start: [{loss.negative_ratio: 3}, {model.fusion: none}, {optimizer.lr: 0.1}]\n"
    )
    chain, ours, open_ = load(tmp_path, text).warm_start
    whole = {"train.init": "none", "model.fusion": "scale_spatial", "loss.negative_ratio": 3.0}
    assert chain == whole
    assert ours == {"train.init": "none", "model.fusion": "none"}
    assert open_ == {"optimizer.lr": 0.1}


def test_a_condition_on_a_path_holds_wherever_the_search_runs(tmp_path: Path) -> None:
    text = (
        "parameters:\n  model.weights: {choice: [auto, a.pth, b.pth]}\n"
        "  model.backbone: {choice: [resnet18, resnet34], when: {model.weights: [auto, b.pth]}}\n"
    )
    here = Path.cwd()
    space = load(tmp_path, text)
    assert space.parameters["model.weights"].values == ("auto", f"{here}/a.pth", f"{here}/b.pth")
    assert space.parameters["model.backbone"].when == {"model.weights": ("auto", f"{here}/b.pth")}


def test_a_space_is_read_as_the_detector_reads_it(tmp_path: Path) -> None:
    space = load(tmp_path)
    assert (space.name, space.description) == ("space", "a small space")
    assert space.fixed["augment.crop_px"] == 320
    assert list(space.parameters) == [
        "optimizer.lr",
        "postprocess.box_thresh",
        "model.fusion",
        "loss.negative_ratio",
    ]
    assert space.parameters["loss.negative_ratio"].values == (2.0, 5.0)
    assert space.warm_start == (
        {"optimizer.lr": 0.001, "model.fusion": "scale_spatial", "loss.negative_ratio": 3.0},
    )
    assert (space.budget.trials, space.budget.epochs, space.budget.grace_epochs) == (7, 9, 3)
    assert space.budget.reduction_factor == 3


def test_a_space_can_be_pickled_and_written(tmp_path: Path) -> None:
    space = load(tmp_path)
    assert pickle.loads(pickle.dumps(space)) == space
    text = space.to_yaml()
    assert load(tmp_path, text, gpu=False) == space
    assert load(tmp_path, text).to_yaml() == text


def test_conditions_decide_what_is_asked_for(tmp_path: Path) -> None:
    space = load(tmp_path)
    point = {"optimizer.lr": 0.001, "postprocess.box_thresh": 0.4, "model.fusion": "none"}
    assert space.active(point) == ("optimizer.lr", "postprocess.box_thresh", "model.fusion")
    assert space.suggest(optuna.trial.FixedTrial(point)) == point
    more = point | {"model.fusion": "scale_spatial", "loss.negative_ratio": 4.0}
    assert space.active(more) == tuple(space.parameters)
    assert space.suggest(optuna.trial.FixedTrial(more)) == more


def test_suggest_draws_from_the_same_distributions(tmp_path: Path) -> None:
    text = "parameters:\n  train.batch_size: {int: [2, 8], step: 2}\n" + parameter(
        "{uniform: [0.3, 0.6]}"
    ).removeprefix("parameters:\n")
    space = load(tmp_path, text)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(30)]
    points = [space.suggest(trial) for trial in trials]
    assert trials[0].distributions == {
        "train.batch_size": IntDistribution(2, 8, step=2),
        "postprocess.box_thresh": FloatDistribution(0.3, 0.6),
    }
    assert {p["train.batch_size"] for p in points} == {2, 4, 6, 8}


def test_train_config_is_fixed_settings_point_and_epochs(tmp_path: Path) -> None:
    space = load(tmp_path)
    point = {
        "optimizer.lr": 0.002,
        "postprocess.box_thresh": 0.4,
        "model.fusion": "none",
        "loss.negative_ratio": 4.5,  # does not apply without fusion
    }
    config = space.train_config(point)
    assert (config.augment.crop_px, config.train.epochs) == (320, 9)
    assert (config.optimizer.lr, config.model.fusion) == (0.002, "none")
    assert config.loss.negative_ratio == 3.0


def test_train_config_refuses_foreign_and_missing_keys(tmp_path: Path) -> None:
    space = load(tmp_path)
    with pytest.raises(InputError) as caught:
        space.train_config({"optimizer.l": 1.0, "optimizer.lr": 0.001, "model.fusion": "none"})
    text = str(caught.value)
    assert "optimizer.l: unknown key; did you mean optimizer.lr?" in text
    assert "postprocess.box_thresh: the point gives no value" in text


def test_layers_replace_in_order(tmp_path: Path) -> None:
    text = BASE + (
        "cpu:\n"
        "  fixed: {augment.crop_px: 160, model.fusion: none}\n"
        "  parameters:\n"
        "    train.batch_size: {choice: [1, 2]}\n"
        "    loss.negative_ratio: {uniform: [2, 4]}\n"
        "  warm_start: [{train.batch_size: 2}]\n"
        "  budget: {epochs: 4}\n"
        "demo:\n"
        "  fixed: {data.train_pages: 6, augment.crop_px: 96}\n"
        "  budget: {trials: 2}\n"
    )
    real = {"data.root": "receipts"}
    gpu = load(tmp_path, text, overrides=real)
    assert gpu == load(tmp_path, BASE, overrides=real)
    assert not gpu.demo
    cpu = load(tmp_path, text, gpu=False, overrides=real)
    assert (cpu.fixed["augment.crop_px"], cpu.fixed["model.fusion"]) == (160, "none")
    assert "model.fusion" not in cpu.parameters
    assert cpu.parameters["loss.negative_ratio"].values == (2.0, 4.0)
    assert cpu.warm_start == ({"train.batch_size": 2},)
    assert (cpu.budget.trials, cpu.budget.epochs) == (7, 4)
    demo = load(tmp_path, text, gpu=False)
    assert demo.demo
    assert (demo.fixed["augment.crop_px"], demo.fixed["data.train_pages"]) == (96, 6)
    assert demo.fixed["data.val_pages"] == 8  # the default number of pages
    assert (demo.budget.trials, demo.budget.epochs) == (2, 4)


def test_no_data_makes_a_demo_and_the_data_can_be_added(tmp_path: Path) -> None:
    space = load(tmp_path)
    assert space.demo
    assert load(
        tmp_path, overrides={"data.root": None, "data.val_pages": None}
    ) == space.with_fixed({"data.root": None})
    assert (space.fixed["data.train_pages"], space.fixed["data.val_pages"]) == (24, 8)
    ready = space.with_fixed({"data.root": tmp_path})
    assert ready.fixed["data.root"] == str(tmp_path)
    assert "data.root" not in space.fixed
    with pytest.raises(InputError, match=r"optimizer\.lr: searched in this space"):
        space.with_fixed({"optimizer.lr": 0.1})
    with pytest.raises(InputError, match=r"train\.batch_size: .*got 0"):
        space.with_fixed({"train.batch_size": 0})


def test_the_command_line_fixes_what_the_space_searches(tmp_path: Path) -> None:
    space = load(tmp_path, overrides={"optimizer.lr": "0.002", "train.batch_size": "2"})
    assert (space.fixed["optimizer.lr"], space.fixed["train.batch_size"]) == (0.002, 2)
    assert "optimizer.lr" not in space.parameters
    assert space.warm_start == ({"model.fusion": "scale_spatial", "loss.negative_ratio": 3.0},)
    assert space.notes == (
        "optimizer.lr=0.002 is fixed for every trial; "
        "the space would search log_uniform [0.0001, 0.01]",
    )


def test_fixing_a_condition_decides_what_depends_on_it(tmp_path: Path) -> None:
    without = load(tmp_path, overrides={"model.fusion": "none"})
    assert "loss.negative_ratio" not in without.parameters
    assert without.warm_start == ({"optimizer.lr": 0.001},)
    assert "loss.negative_ratio is not searched: it needs another model.fusion" in without.notes
    always = load(tmp_path, overrides={"model.fusion": "scale_spatial"})
    assert always.parameters["loss.negative_ratio"].when == {}


def test_conditions_may_follow_their_dependants_in_the_file(tmp_path: Path) -> None:
    text = (
        "parameters:\n"
        "  loss.negative_ratio: {uniform: [2, 5], when: {model.neck: [unet]}}\n"
        "  model.neck: {choice: [fpn, unet], when: {model.fusion: none}}\n"
        "  model.fusion: {choice: [none, scale_spatial]}\n"
    )
    space = load(tmp_path, text)
    assert list(space.parameters) == ["model.fusion", "model.neck", "loss.negative_ratio"]
    # A value left over from a condition that does not apply switches nothing on.
    point = {"model.fusion": "scale_spatial", "model.neck": "unet", "loss.negative_ratio": 2.0}
    assert space.active(point) == ("model.fusion",)


def test_a_setting_that_may_be_null_is_searched_as_a_number(tmp_path: Path) -> None:
    key = "optimizer.lr"
    space = load(tmp_path, parameter("{log_uniform: [1e-4, 1]}", key))
    assert (space.parameters[key].kind, space.parameters[key].values) == ("log_uniform", (1e-4, 1))
    assert space.train_config({key: 0.002}).optimizer.lr == 0.002
    assert faults(tmp_path, parameter("{log_uniform: [1e-4, 2]}", key))[:1] == [
        "2: optimizer.lr: input should be less than or equal to 1, got 2; change 2 here"
    ]
    left = load(tmp_path, BASE, overrides={key: None})
    assert left.fixed[key] is None
    assert key not in left.parameters


def test_the_budget_follows_the_command_line(tmp_path: Path) -> None:
    space = load(tmp_path, budget=BudgetConfig(trials=2, concurrent=1))
    assert (space.budget.trials, space.budget.epochs) == (2, 9)
    assert load(tmp_path, budget=BudgetConfig(epochs=2)).budget.grace_epochs == 2
    assert faults(tmp_path, BASE, budget=BudgetConfig(grace_epochs=10)) == [
        "command line: budget: grace_epochs must not exceed epochs, got 10 > 9; lower it"
    ]


def test_a_faulty_grace_is_told_beside_a_budget_of_the_command_line(tmp_path: Path) -> None:
    text = BASE.replace("grace_epochs: 3", "grace_epochs: x")
    (found,) = faults(tmp_path, text, budget=BudgetConfig(epochs=2))
    assert found.startswith("13: budget.grace_epochs: input should be a valid integer")


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = load(tmp_path, overrides={"data.root": "receipts", "model.weights": "a.pth"})
    assert space.fixed["data.root"] == str(tmp_path / "receipts")
    assert space.fixed["model.weights"] == str(tmp_path / "a.pth")
    named = {"model.weights": "none", "data.cache": "pages"}
    found = load(tmp_path, overrides=named).fixed
    assert [found[key] for key in named] == ["none", str(tmp_path / "pages")]
    found = load(tmp_path, overrides={"data.cache": "auto"}).fixed
    assert found["data.cache"] == "auto"  # of the machine where a trial runs


def test_all_faults_come_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        "fixd: {}\n"  # 1
        "fixed:\n"
        "  augment.crop_px: 100\n"  # 3
        "  train.epochs: 3\n"  # 4
        "  data.rot: x\n"  # 5
        "parameters:\n"
        "  postprocess.box_thresh: {uniform: [0.3, 1.5]}\n"  # 7
        "  optimizer.lr: {log_uniform: [0, 0.1]}\n"  # 8
        "  loss.negative_rato: {uniform: [1, 2]}\n"  # 9
        "  model.fusion: {choice: []}\n"  # 10
        "warm_start:\n"
        "  - postprocess.box_tresh: 0.4\n"  # 12
        "budget: {trials: 0}\n"  # 13
    )
    found = faults(tmp_path, text)
    starts = [
        "1: fixd: unknown section; did you mean fixed?",
        "4: train.epochs: the scheduler must know it; set budget.epochs instead",
        "5: data.rot: unknown key; did you mean data.root",
        "3: augment: crop_px must be a multiple of 32, got 100",
        "8: optimizer.lr: log_uniform needs low > 0, got 0; use uniform or a small positive number",
        "10: model.fusion: choice needs a list of values in brackets, got []",
        "7: postprocess.box_thresh: input should be less than or equal to 1, got 1.5",
        "9: loss.negative_rato: unknown key; did you mean loss.negative_ratio",
        "12: postprocess.box_tresh: unknown key",
        "13: budget.trials: input should be greater than or equal to 1, got 0",
    ]
    assert [next((line for line in found if line.startswith(s)), s) for s in starts] == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (parameter("{uniform: [0.6, 0.3]}"), "2: postprocess.box_thresh: uniform needs low < high"),
        (parameter("{uniform: [0.3, 0.3]}"), "2: postprocess.box_thresh: uniform needs low < high"),
        (parameter("{uniform: [0.3]}"), "needs two numbers [low, high], got [0.3]"),
        (parameter("{uniform: [true, 2]}"), "needs two numbers"),
        (parameter("{uniform: [0.1, .nan]}"), "uniform needs low < high"),
        (
            parameter("{unifrm: [0.3, 0.6]}"),
            "needs exactly one of choice, uniform, log_uniform, int",
        ),
        (parameter("[0.3, 0.6]"), "needs exactly one of"),
        (parameter("{uniform: [0.3, 0.6], choice: [1]}"), "needs exactly one of"),
        (parameter("{uniform: [0.3, 0.6], wen: {a: 1}}"), "unknown option 'wen'"),
        (parameter("{uniform: [0.3, 0.6], step: 2}"), "unknown option 'step'"),
        (parameter("{choice: [0.3, 0.4, 0.3]}"), "0.3 is listed twice; keep one"),
        (parameter('{choice: [4, "4"]}', "train.batch_size"), "4 is listed twice"),
        (parameter("{choice: [[1]]}"), "a choice is text, a number, true, false or null, got [1]"),
        (parameter("{choice: [adam, adamw]}", "optimizer.name"), "got 'adam'; change 'adam' here"),
        (parameter("{int: [1.5, 3]}", "train.batch_size"), "int needs two whole numbers"),
        (parameter("{uniform: [1, 8]}", "train.batch_size"), "takes whole numbers only"),
        (parameter("{int: [0, 1]}", "train.channels_last"), "is no number"),
        (parameter("{int: [64, 256]}", "model.neck_channels"), "got 65; add a fitting step"),
        (parameter("{int: [64, 250], step: 16}", "model.neck_channels"), "end the range at 240"),
        (
            parameter("{int: [64, 256], step: 0}", "model.neck_channels"),
            "step must be a whole number",
        ),
        (parameter("{int: [5, 50]}", "train.epochs"), "set budget.epochs instead"),
        (parameter("{int: [1, 2]}", "train.threads"), "set resources.cpus_per_trial instead"),
        ("fixed: {train.processes: 2}\n" + parameter("{uniform: [0.3, 0.6]}"), "a trial is one"),
        (parameter("{choice: [val, test]}", "data.val_split"), "scored on different pages"),
        (parameter("{uniform: [0.3, 0.6]}", "postprocess"), "is a section; set one of its keys"),
        (
            parameter("{choice: [resnet18, resnet19]}", "model.backbone"),
            "got 'resnet19'; close names",
        ),
        ("fixed: {model.backbone: resnet19}\n" + parameter("{uniform: [0.3, 0.6]}"), "'resnet19'"),
        ("fixed: {data.root: {a: 1}}\n" + parameter("{uniform: [0.3, 0.6]}"), "1: data.root: "),
        ("fixed: 3\n" + parameter("{uniform: [0.3, 0.6]}"), "fixed: must hold `key: value` lines"),
        ("cpu: 3\n" + parameter("{uniform: [0.3, 0.6]}"), "cpu: must hold `key: value` lines"),
        ("name: 3\n" + parameter("{uniform: [0.3, 0.6]}"), "1: name: must be text"),
        (
            "budget: {epochs: 2, grace_epochs: 3}\n" + parameter("{uniform: [0.3, 0.6]}"),
            "got 3 > 2",
        ),
        ("budget: {trails: 2}\n" + parameter("{uniform: [0.3, 0.6]}"), "did you mean trials?"),
        ("fixed: {}\n", "parameters: nothing is left to search"),
    ],
)
def test_faults(tmp_path: Path, text: str, message: str) -> None:
    found = faults(tmp_path, text)
    assert any(message in line for line in found), found


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{postprocess.thrsh: 0.3}", "neither searched nor fixed in this space"),
        ("{model.fusion: scale_spatal}", "model.fusion is never 'scale_spatal'"),
        ("{model.fusion: []}", "when: model.fusion lists no values"),
        ("3", "when needs `other.key: value`"),
    ],
)
def test_conditions_that_cannot_hold(tmp_path: Path, spec: str, message: str) -> None:
    text = BASE.replace("{model.fusion: scale_spatial}", spec)
    assert any(
        line.startswith("8: loss.negative_ratio") and message in line
        for line in faults(tmp_path, text)
    )


def test_conditions_in_a_circle(tmp_path: Path) -> None:
    text = (
        "parameters:\n"
        "  model.neck: {choice: [fpn, unet], when: {model.fusion: none}}\n"
        "  model.fusion: {choice: [none, scale_spatial], when: {model.neck: fpn}}\n"
    )
    (found,) = faults(tmp_path, text)
    assert "when: conditions in a circle: " in found
    assert "model.neck" in found
    assert "model.fusion" in found


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("{postprocess.box_thresh: 0.7}", "must lie in the space, uniform [0.3, 0.6]; got 0.7"),
        (
            "{model.fusion: scale_channel_spatial}",
            "must lie in the space, one of none, scale_spatial",
        ),
        ("{augment.crop_px: 320}", "holds searched settings only, and this one is fixed"),
        ("{model.backbone: resnet18}", "model.backbone: unknown key"),
        ("{model.fusion: none, loss.negative_ratio: 3}", "does not apply at this point"),
        ("{optimizer.lr: true}", "must lie in the space, log_uniform [0.0001, 0.01]; got True"),
        ("3", "warm_start: must be a list of points"),
    ],
)
def test_warm_starts_outside_the_space(tmp_path: Path, point: str, message: str) -> None:
    head, _, rest = BASE.partition("warm_start:\n")
    text = f"{head}warm_start:\n  - {point}\nbudget:{rest.partition('budget:')[2]}"
    found = faults(tmp_path, text)
    assert any(line.split(":")[0] in ("9", "10") and message in line for line in found), found


def test_faults_of_sections_for_other_machines_are_told_everywhere(tmp_path: Path) -> None:
    text = BASE + "cpu:\n  fixed: {train.batch_siz: 2}\n"
    (found,) = faults(tmp_path, text, gpu=True)
    assert found.startswith("15: train.batch_siz: unknown key; did you mean train.batch_size")


def test_faults_of_the_command_line_say_so(tmp_path: Path) -> None:
    assert faults(tmp_path, BASE, overrides={"train.batch_size": "two", "train.epochs": "3"}) == [
        "command line: train.epochs: the scheduler must know it; set budget.epochs instead",
        "command line: train.batch_size: input should be a valid integer, "
        "unable to parse string as an integer, got 'two'",
    ]


def test_rules_between_sections_are_told_for_fixed_settings_too(tmp_path: Path) -> None:
    values = {"sweep.choose": "true", "train.sweep": "false", "train.batch_size": "2"}
    (found,) = faults(tmp_path, BASE, overrides=values)
    assert found.startswith("command line: sweep.choose=true needs train.sweep=true")
    values = {"postprocess.shrink_ratio": "0.3", "targets.shrink_ratio": "0.5"}
    (found,) = faults(tmp_path, BASE, overrides=values)
    assert found.startswith("command line: postprocess.shrink_ratio must equal targets")


def test_fixing_everything_leaves_nothing_to_search(tmp_path: Path) -> None:
    (found,) = faults(
        tmp_path, parameter("{uniform: [0.3, 0.6]}"), overrides={"postprocess.box_thresh": 0.5}
    )
    assert found.startswith("parameters: nothing is left to search")
    assert "python -m detector.train" in found


def test_rules_between_searched_settings_do_not_refuse_a_possible_space(tmp_path: Path) -> None:
    text = (
        "parameters:\n"
        "  augment.scale_min: {uniform: [1.6, 2.0]}\n"  # above the default scale_max
        "  augment.scale_max: {uniform: [2.0, 3.0]}\n"
    )
    assert set(load(tmp_path, text).parameters) == {"augment.scale_min", "augment.scale_max"}
    impossible = text.replace("[2.0, 3.0]", "[1.0, 1.5]")
    assert any(
        "scale_min must not exceed scale_max" in line for line in faults(tmp_path, impossible)
    )


def test_whole_numbers_on_a_real_setting_stay_whole(tmp_path: Path) -> None:
    text = (
        parameter("{int: [5, 15]}", "loss.threshold_weight")
        + "warm_start: [{loss.threshold_weight: 10}]\n"
    )
    space = load(tmp_path, text)
    assert space.warm_start == ({"loss.threshold_weight": 10},)
    assert type(space.warm_start[0]["loss.threshold_weight"]) is int
    assert space.parameters["loss.threshold_weight"].values == (5, 15)


def test_one_condition_of_several_is_enough_to_refuse_a_point(tmp_path: Path) -> None:
    """The other one is drawn, and whatever it becomes, the value is never used."""
    text = (
        "parameters:\n"
        "  model.neck: {choice: [fpn, unet]}\n"
        "  model.fusion: {choice: [none, scale_spatial]}\n"
        "  loss.negative_ratio:\n"
        "    uniform: [2, 5]\n"
        "    when: {model.neck: fpn, model.fusion: none}\n"
        "warm_start: [{model.neck: unet, loss.negative_ratio: 3}]\n"
    )
    (found,) = faults(tmp_path, text)
    assert found.startswith("7: loss.negative_ratio: does not apply at this point (when: {")


def test_a_warm_start_from_a_searched_file_lies_in_the_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "parameters: {model.weights: {choice: [none, a.pth]}}\n"
    space = load(tmp_path, text + "warm_start: [{model.weights: a.pth}]\n")
    assert space.warm_start == ({"model.weights": str(tmp_path / "a.pth")},)


def test_equal_warm_starts_run_once(tmp_path: Path) -> None:
    text = parameter("{uniform: [0.3, 0.6]}") + (
        "warm_start:\n  - {postprocess.box_thresh: 0.4}\n  - {postprocess.box_thresh: 0.40}\n"
    )
    assert load(tmp_path, text).warm_start == ({"postprocess.box_thresh": 0.4},)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("data.val_pages: {int: [2, 4]}", "trials would be scored on different pages"),
        ("train.eval_every: {int: [1, 3]}", "at epochs that all of them validate"),
        ("sweep.choose: {choice: [true, false]}", "some scores would be cross-fitted and some not"),
        ("train.sweep: {choice: [true, false]}", "no scores to choose settings by"),
        ("train.device: {choice: [cpu, cuda]}", "it follows a trial's share of GPUs"),
    ],
)
def test_what_would_make_scores_mean_different_things_is_not_searched(tmp_path, line, reason):
    path = tmp_path / "space.yaml"
    text = f"parameters:\n  {line}\n  loss.negative_ratio: {{choice: [1.0, 2.0]}}\n"
    path.write_text(text + "budget: {trials: 1, epochs: 1, grace_epochs: 1, reduction_factor: 2}\n")
    key = line.partition(":")[0]
    with pytest.raises(InputError, match=rf"{key}: not searchable: .*{reason}; set it fixed"):
        load_space(str(path), gpu=True)
