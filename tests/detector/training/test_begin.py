from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detector.config.settings import TrainConfig
from detector.inference.evaluation import page_maps
from detector.training.begin import prepare
from detector.training.trainer import train


@pytest.fixture
def pages_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pages are kept by default, for this test alone; not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "receipt-orchestrator" / "pages"


def test_pages_are_kept_among_the_user_s_caches_and_that_is_told_once(
    tiny: Callable[..., TrainConfig], tmp_path: Path, pages_folder: Path
) -> None:
    said: list[str] = []
    for name in ("first", "second"):
        train(tiny({"train.epochs": 1}), tmp_path / name, log=said.append)
    assert len(list(pages_folder.glob("*.page"))) >= 4  # those of the training split
    assert pages_folder.stat().st_mode & 0o777 == 0o700
    told = [line for line in said if "data.cache" in line]
    assert len(told) == 1
    assert f"prepared pages are kept in {pages_folder}, " in told[0]
    config = (tmp_path / "first" / "checkpoint" / "best" / "config.yaml").read_text()
    assert "cache: auto" in config
    assert str(pages_folder) not in config


@pytest.mark.usefixtures("pages_folder")
def test_by_default_half_of_a_disk_stays_free(
    tiny: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    def size(values: dict) -> int:
        job, _ = prepare(tiny(values), tmp_path / "run", lambda _: None, last=None)
        assert job.samples.cache is not None
        return job.samples.cache.max_bytes

    assert size({"data.cache_gb": 0.25}) == 250_000_000
    free = shutil.disk_usage(tmp_path).free
    assert size({"data.cache_gb": 1e9}) == pytest.approx(free / 2, rel=0.05)
    named = {"data.cache": tmp_path / "named", "data.cache_gb": 1e9}
    assert size(named) == 10**18  # a folder of one's own has what one gives it


def test_pages_are_validated_at_a_size_of_their_own(
    tiny: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Crops are those of a training without it, to the bit, and kept pages are not mixed up."""
    jobs = [
        prepare(
            tiny({"data.cache": tmp_path / "cache", "preprocess.test_scale": share}),
            tmp_path / str(share),
            lambda _: None,
            last=None,
        )[0]
        for share in (1.0, 1.5)
    ]
    for job in jobs:
        found = dict(
            page_maps(
                job.detector, job.val_pages, workers=0, skip=pytest.fail, cache=job.samples.cache
            )
        )
        assert [max(found[i].probability.shape) for i in sorted(found)] == [
            job.detector.preprocess.longest_side_px
        ] * len(job.val_pages)
    plain, larger = (job.detector.preprocess.longest_side_px for job in jobs)
    assert larger == 1.5 * plain
    one, other = (job.samples[0, 0] for job in jobs)
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.masks, other.masks)


@pytest.mark.parametrize("value", [None, "none"])
def test_without_a_cache_nothing_is_kept(
    tiny: Callable[..., TrainConfig], tmp_path: Path, pages_folder: Path, value: str | None
) -> None:
    train(tiny({"train.epochs": 1, "data.cache": value}), tmp_path / "run", log=lambda _: None)
    assert not pages_folder.exists()


def test_a_training_goes_on_where_no_folder_can_be_made(
    tiny: Callable[..., TrainConfig], tmp_path: Path, pages_folder: Path
) -> None:
    (tmp_path / "caches").write_text("a file")
    said: list[str] = []
    train(tiny({"train.epochs": 1}), tmp_path / "run", log=said.append)
    told = [line for line in said if "data.cache" in line]
    assert told == [
        f"data.cache=auto: no page is kept, since {pages_folder} cannot be made (Not a directory)"
    ]
