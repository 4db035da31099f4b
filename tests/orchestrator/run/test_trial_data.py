from __future__ import annotations

import json
from pathlib import Path

import pytest

from detector.config.settings import DataConfig
from detector.core.errors import InputError
from orchestrator.run.trial_data import check_data, training_pages, validation_pages
from orchestrator.space.search_space import SearchSpace, load_space


@pytest.fixture
def root(tmp_path: Path, make_dataset) -> Path:
    """Two splits of two pages, 160 x 128, of four words of 25 px and more."""
    make_dataset(tmp_path / "data", split="train", pages=2, words=4)
    return make_dataset(tmp_path / "data", split="val", pages=2, words=4)


def space(folder: Path, root: Path, parameters: str, **overrides: str) -> SearchSpace:
    path = folder / "space.yaml"
    path.write_text(
        f"fixed: {{data.longest_side_px: 64}}\nparameters: {{{parameters}}}\n"
        "budget: {trials: 2, epochs: 2, grace_epochs: 2, reduction_factor: 2}\n"
    )
    return load_space(str(path), gpu=False, overrides={"data.root": str(root)} | overrides)


def test_a_search_in_which_some_trial_can_learn_is_let_through(
    tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert check_data(space(tmp_path, root, "targets.min_side_px: {choice: [3.0, 60.0]}")) == 2
    assert "not for training" not in capfd.readouterr().err


def test_a_part_of_the_training_pages_is_validated_on_and_not_trained_on(
    tmp_path: Path, make_dataset, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_dataset(tmp_path / "data", split="train", pages=9, words=4)
    learning = "optimizer.lr: {uniform: [0.001, 0.002]}"
    parts = {"data.val_split": "train@2/3"}
    found = space(tmp_path, root, learning, **parts)
    assert check_data(found) == 6
    assert "train: 3 of 9 pages are for validation, and not trained on" in capfd.readouterr().err
    data = DataConfig(root=root, val_split="train@2/3")
    assert [page.name[-7:-4] for page in validation_pages(data)] == ["003", "004", "005"]
    assert len(training_pages(data)) == 6
    with pytest.raises(InputError, match="split 'train@4/3': SPLIT@PART/PARTS is a part from 1"):
        check_data(space(tmp_path, root, learning, **{"data.val_split": "train@4/3"}))


def test_a_search_in_which_none_can_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match="split 'train': no word can be trained on: 8 under") as no:
        check_data(space(tmp_path, root, "targets.min_side_px: {uniform: [60.0, 90.0]}"))
    assert "split 'val'" in str(no.value)


def test_a_search_says_how_many_words_are_left_out(
    tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = root / "jsons" / "train.json"
    page.write_text(page.read_text().replace('"ignore": false', '"ignore": true', 3))
    check_data(space(tmp_path, root, "optimizer.lr: {uniform: [0.001, 0.002]}"))
    said = "train: 3 of 8 words are not for training: 3 don't-care"
    assert said in capfd.readouterr().err


def test_a_search_says_that_texts_may_be_marks_of_other_tools(
    tmp_path: Path, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = root / "jsons" / "val.json"
    content = json.loads(page.read_text())
    for words in content["images"].values():
        words["words"]["0001"]["transcription"] = "#"
    page.write_text(json.dumps(content))
    check_data(space(tmp_path, root, "optimizer.lr: {uniform: [0.001, 0.002]}"))
    told = [line for line in capfd.readouterr().err.splitlines() if "other tools" in line]
    assert [line.startswith("val: 2 of ") for line in told] == [True]
