"""timm's hub, played by a server on this machine: real requests, real downloads."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from detector.model.backbone import Backbone
from detector.model.hub import HubError, hub_file
from detector.model.weights import load_backbone_weights

NAME = "mobilenetv3_small_100"
REPOSITORY = "timm/mobilenetv3_small_100.lamb_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub that serves the files of the returned folder, and an empty local cache."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            file = folder / self.path.rpartition("/")[2]
            known = "/resolve/main/" in self.path and file.is_file()
            content = file.read_bytes() if known else b""
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            if known:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "a" * 40)
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_address[1]}")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))  # for the download, a process of its own
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    for variable in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def test_weights_come_from_the_hub_once_and_then_from_the_cache(
    hub: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    whole = timm.create_model(NAME).state_dict()
    save_file(whole, hub / "model.safetensors")
    backbone = Backbone(NAME)
    line = load_backbone_weights(backbone, NAME, "auto", timeout_s=20)
    assert line == f"{NAME}: weights from {REPOSITORY}"
    assert all(torch.equal(v, whole[k]) for k, v in backbone.body.state_dict().items())

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = Backbone(NAME)
    assert load_backbone_weights(again, NAME, "auto") == line
    assert all(torch.equal(v, whole[k]) for k, v in again.body.state_dict().items())
    assert capfd.readouterr() == ("", "")


def test_a_pickled_twin_is_taken_when_there_is_no_safetensors_file(hub: Path) -> None:
    torch.save({"a": torch.arange(3)}, hub / "weights.bin")
    path = hub_file(REPOSITORY, "weights.bin", 20)
    assert torch.load(path, weights_only=True)["a"].tolist() == [0, 1, 2]


def test_a_hub_without_the_file_means_scratch(hub: Path) -> None:
    assert not list(hub.iterdir())
    line = load_backbone_weights(Backbone(NAME), NAME, "auto", timeout_s=20)
    assert line.startswith(f"{NAME}: starting from scratch: the download of {REPOSITORY} failed")
    assert "\n" not in line


def test_weights_that_do_not_fit_mean_scratch_and_change_nothing(
    hub: Path, capfd: pytest.CaptureFixture
) -> None:
    save_file({"conv_stem.weight": torch.zeros(1)}, hub / "model.safetensors")
    backbone = Backbone(NAME)
    before = backbone.body.state_dict()["conv_stem.weight"].clone()
    torch.manual_seed(0)
    line = load_backbone_weights(backbone, NAME, "auto", timeout_s=20)
    assert line.startswith(f"{NAME}: starting from scratch: {REPOSITORY}: ")
    assert torch.equal(backbone.body.state_dict()["conv_stem.weight"], before)
    after = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(()))  # the generator was left alone
    assert capfd.readouterr() == ("", "")


def test_no_hub_means_scratch_with_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{port}")
    line = load_backbone_weights(Backbone("resnet18"), "resnet18", "auto", timeout_s=2)
    assert line.startswith(
        f"resnet18: starting from scratch: http://127.0.0.1:{port} gave no answer ("
    )
    assert line.endswith("model.weights=PATH takes weights from a file")
    assert "\n" not in line
    assert capfd.readouterr() == ("", "")


def test_a_hub_that_accepts_but_never_answers_is_left_after_the_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the time-out this test would not end."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(HubError, match=r"gave no answer \(waited 0.3 s\)"):
            hub_file(REPOSITORY, None, 0.3)
        with pytest.raises(HubError, match="gave no answer"):
            hub_file(REPOSITORY, None, 0.3)  # remembered: not asked again


def test_offline_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, tmp_path, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        hub_file(REPOSITORY, None, 5)


def test_the_download_is_whole(hub: Path) -> None:
    save_file({"a": torch.arange(100_000)}, hub / "model.safetensors")
    path = hub_file(REPOSITORY, None, 20)
    assert load_file(path)["a"].sum().item() == 99_999 * 100_000 // 2
