"""Space files that extend others."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.core.errors import InputError
from orchestrator.space.search_space import SearchSpace, load_space

PARENT = """\
description: the parent
fixed:
  augment.crop_px: 320
  train.batch_size: 4
parameters:
  optimizer.lr: {log_uniform: [1e-4, 1e-2]}
  model.fusion: {choice: [none, scale_spatial]}
  loss.negative_ratio: {uniform: [2, 5], when: {model.fusion: scale_spatial}}
  postprocess.box_thresh: {uniform: [0.3, 0.6]}
warm_start:
  - {optimizer.lr: 0.001, model.fusion: scale_spatial, loss.negative_ratio: 3}
  - {optimizer.lr: 0.005, model.fusion: none, postprocess.box_thresh: 0.5}
budget: {trials: 7, epochs: 9, grace_epochs: 3}
"""


def load(folder: Path, child: str, parent: str = PARENT, **options: object) -> SearchSpace:
    (folder / "parent.yaml").write_text(parent, encoding="utf-8")
    (folder / "child.yaml").write_text(child, encoding="utf-8")
    return load_space(str(folder / "child.yaml"), **{"gpu": True, **options})  # type: ignore[arg-type]


def faults(folder: Path, child: str, parent: str = PARENT, **options: object) -> list[str]:
    """The messages without the folder: `child.yaml:5: key: ...`."""
    with pytest.raises(InputError) as caught:
        load(folder, child, parent, **options)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_child_is_its_parent_with_what_it_says_itself(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        "extends: parent.yaml\n"
        "fixed: {train.batch_size: 8, model.neck: unet}\n"
        "parameters:\n"
        "  optimizer.lr: {log_uniform: [1e-3, 1e-2]}\n"
        "  loss.binary_weight: {uniform: [0.5, 2]}\n"
        "budget: {trials: 3}\n",
    )
    assert (space.name, space.description) == ("child", "")
    assert {k: v for k, v in space.fixed.items() if not k.startswith("data.")} == {
        "augment.crop_px": 320,
        "train.batch_size": 8,
        "model.neck": "unet",
    }
    assert list(space.parameters) == [
        "optimizer.lr",
        "model.fusion",
        "loss.negative_ratio",
        "postprocess.box_thresh",
        "loss.binary_weight",
    ]
    assert space.parameters["optimizer.lr"].values == (1e-3, 1e-2)
    assert (space.budget.trials, space.budget.epochs, space.budget.grace_epochs) == (3, 9, 3)
    assert len(space.warm_start) == 2
    assert space.notes == ()


def test_an_empty_child_is_its_parent(tmp_path: Path) -> None:
    child = load(tmp_path, "extends: parent.yaml\nname: parent\ndescription: the parent\n")
    assert child == load_space(str(tmp_path / "parent.yaml"), gpu=True)


def test_a_shipped_space_is_extended_by_name(tmp_path: Path) -> None:
    space = load(tmp_path, "extends: smoke\nfixed: {train.batch_size: 2}\n", gpu=False)
    smoke = load_space("smoke", gpu=False)
    assert space.parameters == smoke.parameters
    assert space.fixed == smoke.fixed | {"train.batch_size": 2}


def test_a_path_starts_at_the_file_that_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "middle.yaml").write_text("extends: ../parent.yaml\n")
    monkeypatch.chdir("/")
    space = load(tmp_path, "extends: deep/middle.yaml\nfixed: {augment.crop_px: 640}\n")
    assert space.fixed["augment.crop_px"] == 640
    assert space.budget.trials == 7


def test_layers_go_parent_child_then_cpu_then_demo(tmp_path: Path) -> None:
    keys = [
        *("loss.probability_weight", "loss.threshold_weight", "loss.binary_weight"),
        *("loss.negative_ratio", "augment.rotate_deg", "postprocess.min_side_px"),
    ]

    def layer(number: int) -> str:
        """Sets the keys from its own on, so that each key ends with the number of its layer."""
        return "fixed: {" + ", ".join(f"{key}: {number}.0" for key in keys[number - 1 :]) + "}"

    parent = (
        "parameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
        f"{layer(1)}\ncpu:\n  {layer(3)}\ndemo:\n  {layer(5)}\n"
    )
    child = f"extends: parent.yaml\n{layer(2)}\ncpu:\n  {layer(4)}\ndemo:\n  {layer(6)}\n"
    space = load(tmp_path, child, parent, gpu=False)
    assert [space.fixed[key] for key in keys] == [1, 2, 3, 4, 5, 6]
    elsewhere = load(tmp_path, child, parent, gpu=True, overrides={"data.root": "receipts"})
    assert [elsewhere.fixed[key] for key in keys] == [1, 2, 2, 2, 2, 2]


def test_fixing_what_the_parent_searches_leaves_it_out_of_its_points(tmp_path: Path) -> None:
    space = load(tmp_path, "extends: parent.yaml\nfixed: {optimizer.lr: 0.002}\n")
    assert space.fixed["optimizer.lr"] == 0.002
    assert list(space.parameters) == [
        "model.fusion",
        "loss.negative_ratio",
        "postprocess.box_thresh",
    ]
    assert space.warm_start == (
        {"model.fusion": "scale_spatial", "loss.negative_ratio": 3.0},
        {"model.fusion": "none", "postprocess.box_thresh": 0.5},
    )
    assert space.notes == ()


def test_points_of_a_child_lose_what_its_parents_demo_fixes(tmp_path: Path) -> None:
    """The demo of dbnetpp has pages of one size; with data the child searches it."""
    parent = PARENT + "demo:\n  fixed: {data.longest_side_px: 640}\n"
    child = (
        "extends: parent.yaml\n"
        "parameters:\n"
        "  data.longest_side_px: {choice: [1024, 1280]}\n"
        "  preprocess.test_scale: {choice: [1.0, 1.25]}\n"
        "warm_start: [{data.longest_side_px: 1280, preprocess.test_scale: 1.25}]\n"
    )
    point = {"data.longest_side_px": 1280, "preprocess.test_scale": 1.25}
    space = load(tmp_path, child, parent, overrides={"data.root": "receipts"})
    assert space.warm_start == (point,)
    demo = load(tmp_path, child, parent)
    assert demo.fixed["data.longest_side_px"] == 640
    assert demo.warm_start == ({"preprocess.test_scale": 1.25},)
    unsearched = child.replace("  data.longest_side_px: {choice: [1024, 1280]}\n", "")
    with pytest.raises(InputError, match=r"data.longest_side_px: .*unknown|searched settings only"):
        load(tmp_path, unsearched, parent)


def test_null_takes_a_setting_out_of_the_search(tmp_path: Path) -> None:
    space = load(tmp_path, "extends: parent.yaml\nparameters: {postprocess.box_thresh: null}\n")
    assert list(space.parameters) == ["optimizer.lr", "model.fusion", "loss.negative_ratio"]
    assert "postprocess.box_thresh" not in space.fixed  # the detector's default
    assert space.warm_start[1] == {"optimizer.lr": 0.005, "model.fusion": "none"}


def test_null_falls_back_to_what_is_fixed_further_down(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text(
        "fixed: {train.batch_size: 16}\nparameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
    )
    middle = "extends: root.yaml\nparameters: {train.batch_size: {choice: [2, 4]}}\n"
    child = "extends: parent.yaml\nparameters: {train.batch_size: null}\n"
    space = load(tmp_path, child, middle)
    assert space.fixed["train.batch_size"] == 16
    assert list(space.parameters) == ["optimizer.lr"]
    assert load(tmp_path, "extends: parent.yaml\n", middle).fixed.get("train.batch_size") is None


def test_null_holds_for_every_section_of_the_parent(tmp_path: Path) -> None:
    parent = PARENT + (
        "cpu:\n"
        "  parameters: {postprocess.box_thresh: {const: 0.4}, train.batch_size: {choice: [1, 2]}}\n"
    )
    child = (
        "extends: parent.yaml\nparameters: {postprocess.box_thresh: null, train.batch_size: null}\n"
    )
    space = load(tmp_path, child, parent, gpu=False)
    assert space.parameters.keys() == {"optimizer.lr", "model.fusion", "loss.negative_ratio"}
    assert space.fixed["train.batch_size"] == 4
    again = "cpu:\n  parameters: {train.batch_size: {choice: [8, 16]}}\n"
    searched = load(tmp_path, child + again, parent, gpu=False)
    assert searched.parameters["train.batch_size"].values == (8, 16)


def test_a_grandchild_may_search_again_what_its_parent_removed(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text(
        PARENT + "cpu:\n  parameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
    )
    middle = "extends: root.yaml\nparameters: {optimizer.lr: null}\n"
    child = "extends: parent.yaml\nparameters: {optimizer.lr: {uniform: [0.01, 0.02]}}\n"
    for gpu in (True, False):
        assert "optimizer.lr" not in load(tmp_path, "extends: parent.yaml\n", middle).parameters
        space = load(tmp_path, child, middle, gpu=gpu)
        assert space.parameters["optimizer.lr"].values == (0.01, 0.02)


def test_a_cpu_section_may_remove_from_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    text = PARENT + "cpu:\n  parameters: {postprocess.box_thresh: null}\n"
    path.write_text(text)
    message = "one.yaml:12: postprocess.box_thresh: a warm start holds searched settings only"
    with pytest.raises(InputError, match=message):
        load_space(str(path), gpu=True)
    path.write_text(text + "  warm_start: []\n")
    assert "postprocess.box_thresh" in load_space(str(path), gpu=True).parameters
    assert "postprocess.box_thresh" not in load_space(str(path), gpu=False).parameters


def test_a_setting_may_be_removed_and_fixed_at_once(tmp_path: Path) -> None:
    parent = PARENT + "cpu:\n  parameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
    child = "extends: parent.yaml\nfixed: {optimizer.lr: 0.002}\nparameters: {optimizer.lr: null}\n"
    assert load(tmp_path, child, parent, gpu=False).fixed["optimizer.lr"] == 0.002


def test_inherited_points_outside_the_childs_ranges_are_left_out_with_a_note(
    tmp_path: Path,
) -> None:
    child = "extends: parent.yaml\nparameters: {optimizer.lr: {uniform: [0.004, 0.01]}}\n"
    space = load(tmp_path, child)
    assert space.warm_start == (
        {"optimizer.lr": 0.005, "model.fusion": "none", "postprocess.box_thresh": 0.5},
    )
    assert space.notes == (
        f"the warm start of {tmp_path / 'parent.yaml'}:11 is left out: optimizer.lr=0.001 "
        "is not in this space (uniform [0.004, 0.01])",
    )
    own = child + "warm_start:\n  - {optimizer.lr: 0.001}\n"
    assert faults(tmp_path, own) == [
        "child.yaml:4: optimizer.lr: a warm start must lie in the space, uniform [0.004, 0.01]; "
        "got 0.001"
    ]


def test_conditions_follow_what_the_child_changed(tmp_path: Path) -> None:
    note = ("loss.negative_ratio is not searched: it needs another model.fusion",)
    for change in (
        "fixed: {model.fusion: none}",
        "parameters: {model.fusion: {choice: [none, scale_channel_spatial]}}",
    ):
        space = load(tmp_path, f"extends: parent.yaml\nwarm_start: []\n{change}\n")
        assert "loss.negative_ratio" not in space.parameters
        assert space.notes == note
    # Removed, the detector's default decides: scale_channel_spatial.
    removed = "extends: parent.yaml\nwarm_start: []\nparameters: {model.fusion: null}\n"
    assert load(tmp_path, removed).notes == note
    parent = PARENT.replace(
        "model.fusion: scale_spatial}}", "model.fusion: [scale_channel_spatial]}}"
    )
    parent = parent.replace("[none, scale_spatial]", "[none, scale_channel_spatial]")
    parent = parent.replace("model.fusion: scale_spatial,", "model.fusion: scale_channel_spatial,")
    assert load(tmp_path, removed, parent).parameters["loss.negative_ratio"].when == {}


def test_a_condition_that_the_child_adds_takes_the_key_out_of_inherited_points(
    tmp_path: Path,
) -> None:
    child = (
        "extends: parent.yaml\n"
        "parameters:\n"
        "  postprocess.box_thresh: {uniform: [0.3, 0.6], when: {model.fusion: scale_spatial}}\n"
    )
    assert load(tmp_path, child).warm_start[1] == {"optimizer.lr": 0.005, "model.fusion": "none"}


def test_a_resolved_child_is_read_back_equal(tmp_path: Path) -> None:
    space = load(tmp_path, "extends: parent.yaml\nfixed: {optimizer.lr: 0.002}\n", gpu=False)
    (tmp_path / "copy.yaml").write_text(space.to_yaml())
    assert "extends" not in space.to_yaml()
    assert load_space(str(tmp_path / "copy.yaml"), gpu=True) == space


def test_a_parent_may_be_incomplete(tmp_path: Path) -> None:
    child = "extends: parent.yaml\nparameters: {optimizer.lr: {uniform: [0.1, 0.2]}}\n"
    assert load(tmp_path, child, "fixed: {train.batch_size: 3}\n").fixed["train.batch_size"] == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extends: parnt.yaml", "no space or file called 'parnt.yaml'; available: ablation"),
        ("extends: dbnetp", "no space or file called 'dbnetp'; did you mean dbnet"),
        ("extends: [a, b]", "must be one space's name or the path of a file, got ['a', 'b']"),
        ("extends:", "must be one space's name or the path of a file, got None"),
        (
            "extends: ./child.yaml",
            "spaces extend each other in a circle: child.yaml -> child.yaml; cut it here",
        ),
    ],
)
def test_parents_that_cannot_be(tmp_path: Path, line: str, message: str) -> None:
    (found,) = faults(tmp_path, f"# a child\n{line}\n")
    assert found.startswith(f"child.yaml:2: extends: {message}")


def test_a_circle_of_several_files_is_told_once(tmp_path: Path) -> None:
    assert faults(tmp_path, "extends: parent.yaml\n", "extends: child.yaml\n") == [
        "parent.yaml:1: extends: spaces extend each other in a circle: "
        "child.yaml -> parent.yaml -> child.yaml; cut it here"
    ]


def test_faults_of_a_parent_name_its_lines(tmp_path: Path) -> None:
    parent = PARENT.replace("crop_px: 320", "crop_px: 100").replace("train.b", "train.ba")
    child = "extends: parent.yaml\nfixd: {}\nfixed: {data.rot: x}\n"
    found = faults(tmp_path, child, parent)
    assert [line.split(" ")[0] + " " + line.split(" ")[1] for line in found] == [
        "child.yaml:2: fixd:",
        "parent.yaml:4: train.baatch_size:",
        "child.yaml:3: data.rot:",
        "parent.yaml:3: augment:",
    ]
    assert faults(tmp_path, "extends: parent.yaml\n", "fixed: [\n") == [
        "parent.yaml:2: not valid YAML: expected the node content, but found '<stream end>'"
    ]
    (found_point,) = faults(
        tmp_path, "extends: parent.yaml\n", PARENT.replace("box_thresh: 0.5", "box_thresh: 0.7")
    )
    assert found_point.startswith("parent.yaml:12: postprocess.box_thresh: a warm start must lie")


def test_what_a_child_replaces_is_not_checked(tmp_path: Path) -> None:
    parent = PARENT.replace("{log_uniform: [1e-4, 1e-2]}", "{log_uniform: [0, 1e-2]}")
    child = "extends: parent.yaml\nparameters: {optimizer.lr: {log_uniform: [1e-4, 1e-2]}}\n"
    assert load(tmp_path, child, parent).parameters["optimizer.lr"].values == (1e-4, 1e-2)
    (found,) = faults(tmp_path, "extends: parent.yaml\n", parent)
    assert found.startswith("parent.yaml:6: optimizer.lr: log_uniform needs low > 0, got 0")


def test_faults_beside_a_missing_parent_are_told_too(tmp_path: Path) -> None:
    found = faults(tmp_path, "extends: nowhere\nfixd: {}\n")
    assert found[0] == "child.yaml:2: fixd: unknown section; did you mean fixed?"
    assert found[1].startswith("child.yaml:1: extends: no space or file called 'nowhere'")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("child", "hint"),
    [
        ("extends: parent.yaml\nparameters:\n  model.fuson: null\n", "did you mean model.fusion?"),
        (
            "extends: parent.yaml\nparameters:\n  data.cache: null\n",
            "valid: optimizer.lr, model.fusion, loss.negative_ratio, postprocess.box_thresh",
        ),
        (
            "description: alone\nparameters:\n  model.fusion: null\n"
            "  optimizer.lr: {uniform: [0.1, 0.2]}\n",
            "remove the line, or name a parent with extends: NAME",
        ),
    ],
)
def test_removing_what_is_not_searched_is_a_fault(tmp_path: Path, child: str, hint: str) -> None:
    (found,) = faults(tmp_path, child)
    key = child.splitlines()[2].strip().partition(":")[0]
    assert found == (
        f"child.yaml:3: {key}: null takes a setting out of the search below, which has none such; "
        f"{hint}"
    )


def test_a_wrong_condition_of_the_child_is_a_fault(tmp_path: Path) -> None:
    child = (
        "extends: parent.yaml\n"
        "parameters:\n"
        "  model.fusion: {choice: [none, scale_spatial]}\n"
        "  loss.negative_ratio: {uniform: [2, 5], when: {model.fusion: scale_spatal}}\n"
    )
    (found,) = faults(tmp_path, child)
    assert found.startswith("child.yaml:4: loss.negative_ratio: when: model.fusion is never")
