from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from detector.config.answer import collected
from detector.config.cli import build, parse_arguments
from detector.core.errors import InputError
from detector.inference.detector import load_detector
from detector.inference.onnx_export import export
from detector.inference.prediction import find_images
from detector.predict import PredictSettings, main


def test_a_folder_becomes_json_csv_and_pictures_that_score_alike(
    run_module, trained: Path, drawn_root: Path, tmp_path: Path
):
    images = tmp_path / "images"
    shutil.copytree(drawn_root / "images" / "val", images)
    first = sorted(images.iterdir())[0]
    (images / "broken.jpg").write_bytes(first.read_bytes()[:200])
    done = run_module(
        "detector.predict",
        f"checkpoint={trained}",
        f"images={images}",
        f"output={tmp_path}/pred.json",
        f"csv={tmp_path}/pred.csv",
        f"visualize={tmp_path}/drawn",
    )
    assert done.returncode == 0, done.stderr
    assert "skipped:" in done.stderr
    assert "broken.jpg" in done.stderr
    found = json.loads((tmp_path / "pred.json").read_text())["images"]
    assert len(found) == 2
    with Image.open(tmp_path / "drawn" / f"{first.name}.png") as picture:
        assert picture.size == (found[first.name]["img_w"], found[first.name]["img_h"])

    scores = []
    for name in ("pred.json", "pred.csv"):
        gt = drawn_root / "jsons" / "val.json"
        score = subprocess.run(
            [sys.executable, "-m", "detector.cleval", f"gt={gt}", f"pred={tmp_path / name}"],
            capture_output=True,
            text=True,
            check=True,
        )
        scores.append(json.loads(score.stdout)["hmean"])
    assert scores[0] == scores[1] > 0.5


def test_what_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_images(tmp_path / "none")
    with pytest.raises(InputError, match=r"no jpg, jpeg, png, .+, gif or pdf file"):
        find_images(tmp_path)


def test_only_broken_images_fail_with_exit_code_1(run_module, trained: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    done = run_module(
        "detector.predict",
        f"checkpoint={trained}",
        f"images={tmp_path}",
        f"output={tmp_path / 'pred.json'}",
    )
    assert done.returncode == 1
    assert "no image could be read" in done.stderr
    assert not (tmp_path / "pred.json").exists()


def test_folders_below_are_searched_on_request(tmp_path: Path):
    for name in ("b.jpg", "a/b.jpg", "a/c/d.PNG", ".hidden/e.jpg", "a/._f.jpg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(tmp_path) == ({"b.jpg": tmp_path / "b.jpg"}, ["a/"])
    found, others = find_images(tmp_path, recursive=True)
    assert list(found) == ["a/b.jpg", "a/c/d.PNG", "b.jpg"]
    assert others == ["a/notes.txt"]
    assert found["a/c/d.PNG"] == tmp_path / "a" / "c" / "d.PNG"
    assert find_images(tmp_path / "a" / "b.jpg") == ({"b.jpg": tmp_path / "a" / "b.jpg"}, [])
    (tmp_path / "a" / "b.jpg").unlink()
    with pytest.raises(InputError, match="recursive=true looks in the folders below"):
        find_images(tmp_path / "a")


def test_several_checkpoints_views_and_onnx_in_one_command(
    trained: Path, drawn_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    detector, config = load_detector(trained, device="cpu")
    exported = tmp_path / "model.onnx"
    export(detector, config, exported, pages=iter(()))
    values = parse_arguments(
        [
            f"checkpoint=[{trained}, {exported}]",
            f"images={drawn_root / 'images'}",
            "recursive=true",
            f"output={tmp_path / 'pred.json'}",
            f"visualize={tmp_path / 'drawn'}",
            "tta.scales=[1.0, 1.25]",
            "tta.flip=true",
            "device=cpu",
        ]
    )
    with collected() as answer:
        assert main(build(PredictSettings, values)) == 0
    images = json.loads((tmp_path / "pred.json").read_text())["images"]
    assert len(images) == answer["images"] == 6
    assert answer["words"] == sum(len(image["words"]) for image in images.values())
    assert {name.split("/")[0] for name in images} == {"train", "val"}
    words = [word for image in images.values() for word in image["words"].values()]
    assert words
    assert all(0.3 <= word["score"] <= 1 for word in words)
    assert all((tmp_path / "drawn" / f"{name}.png").is_file() for name in images)
    assert "on 6 images, 0 skipped" in capsys.readouterr().err


def test_one_checkpoint_needs_no_list():
    settings = build(PredictSettings, {"checkpoint": "best", "images": "a"})
    assert settings.checkpoint == [Path("best")]


def test_every_kind_of_image_counts_and_what_is_left_out_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page, second = Image.new("RGB", (64, 48), "white"), Image.new("RGB", (64, 48), "black")
    folder = tmp_path / "영수증"
    folder.mkdir()
    for name in ("a.jpg", "b.webp", "c.bmp", "d.tif", "e.gif"):
        several = (
            {"save_all": True, "append_images": [second]} if name in ("d.tif", "e.gif") else {}
        )
        page.save(folder / name, **several)
    (folder / "읽어보세요.txt").touch()
    values = {"checkpoint": str(trained), "images": str(folder), "device": "cpu"}
    output = tmp_path / "결과.json"
    assert main(build(PredictSettings, values | {"output": str(output)})) == 0
    assert len(json.loads(output.read_text(encoding="utf-8"))["images"]) == 5
    told = capsys.readouterr().err
    assert "1 left out, which are no jpg, jpeg, png, webp" in told
    assert "gif or pdf files: 읽어보세요.txt\n" in told
    assert "of 2 files with several pages the first page counts: d.tif, e.gif\n" in told
    assert f"on 5 images, 0 skipped, 1 left out: {output}" in told


@pytest.mark.parametrize("workers", [0, 1])
def test_every_page_of_a_pdf_is_predicted(
    trained: Path,
    drawn_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    workers: int,
):
    folder = tmp_path / "scans"
    folder.mkdir()
    photos = [Image.open(path) for path in sorted((drawn_root / "images" / "val").iterdir())[:2]]
    photos[0].save(folder / "a.pdf", save_all=True, append_images=photos[1:], resolution=200)
    photos[0].save(folder / "b.pdf", resolution=200)
    photos[0].save(folder / "c.png")
    (folder / "d.pdf").write_bytes((folder / "b.pdf").read_bytes()[:-1200])
    values = {"checkpoint": str(trained), "device": "cpu", "workers": workers}
    values |= {"output": str(tmp_path / "pred.json"), "visualize": str(tmp_path / "drawn")}
    names = ["a.pdf#page=1", "a.pdf#page=2", "b.pdf", "c.png"]
    for images, expected in ((folder, names), (folder / "a.pdf", names[:2])):
        assert main(build(PredictSettings, values | {"images": str(images)})) == 0
        found = json.loads((tmp_path / "pred.json").read_text())["images"]
        assert [*found] == expected
        for name, photo in zip(names[:2], photos, strict=True):
            assert (found[name]["img_w"], found[name]["img_h"]) == photo.size
            assert found[name]["words"]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        f"{name}.png" for name in names
    ]
    told = capsys.readouterr().err
    assert "skipped: " in told
    assert "d.pdf: no PDF, or cut off" in told
    assert "4 images, 1 skipped" in told
    assert "several pages" not in told


def test_without_pypdfium2_each_pdf_is_named_with_the_remedy(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 48)).save(tmp_path / "b.pdf", resolution=200)
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    values = {"checkpoint": str(trained), "images": str(tmp_path), "device": "cpu"}
    assert main(build(PredictSettings, values | {"output": str(tmp_path / "pred.json")})) == 0
    told = capsys.readouterr().err
    assert "b.pdf: PDF files need the package pypdfium2" in told
    assert "pip install -e '.[pdf]'" in told
    assert "on 1 images, 1 skipped" in told


@pytest.mark.parametrize("key", ["output", "csv", "visualize"])
def test_outputs_are_checked_before_any_work(tmp_path: Path, key: str):
    (tmp_path / "file").touch()
    values = {"checkpoint": "none", "images": "none", key: str(tmp_path / "file" / "pred")}
    with pytest.raises(InputError, match=f"^{key}: .*lies below"):
        main(build(PredictSettings, values))


def test_settings_of_the_test_replace_what_is_stored(
    trained: Path, drawn_root: Path, tmp_path: Path
):
    """A page is looked at in the size that is asked for: at 64 pixels no word is left."""
    found = []
    for side in ({}, {"data.longest_side_px": "64"}):
        values = side | {
            "checkpoint": str(trained),
            "images": str(drawn_root / "images" / "val"),
            "output": str(tmp_path / "pred.json"),
            "device": "cpu",
        }
        assert main(build(PredictSettings, values)) == 0
        pages = json.loads((tmp_path / "pred.json").read_text())["images"].values()
        found.append(sum(len(page["words"]) for page in pages))
    assert found[0] > found[1]
