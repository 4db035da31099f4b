"""The reading of Markdown that the other tests rely on."""

from __future__ import annotations

import pytest
from doc_markdown import (
    anchors,
    commands,
    fence_commands,
    inline_code,
    is_command,
    links,
    markdown_files,
    split_fences,
)
from doc_rules import NoExampleError, filled, made_small
from doc_shell import calls

PAGE = """\
# Title with `code`, and more

Text with `python -m detector.train
data.root=receipts` in it, and `python` alone.

```sh
# a comment
python -m a x=1 \\
    y=2
for n in 1 2; do
  python -m b n=$n
done
```

```console
$ python -m c \\
    z=3
python -m output
```

## Title with `code`, and more

A [link](data.md#layout "title"), ![a [nested] picture](a/b.png) and `[no](link.md)`.
"""


def test_commands_of_a_page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    found = [(c.text, c.place, c.fenced) for c in commands(path, tmp_path)]
    assert found == [
        ("python -m a x=1 y=2", "page.md:8", True),
        ("for n in 1 2; do\npython -m b n=$n\ndone", "page.md:10", True),
        ("python -m c z=3", "page.md:16", True),
        ("python -m detector.train data.root=receipts", "page.md:3", False),
    ]


def test_a_block_that_ends_within_a_command_is_an_error():
    for text in ("```sh\npython \\\n```\n", "```sh\nfor a in b; do\n```\n"):
        (fence,) = split_fences(text)[1]
        with pytest.raises(ValueError, match="line 2: the block ends within a command"):
            list(fence_commands(fence))
    with pytest.raises(ValueError, match="line 1: a fenced block is not closed"):
        split_fences("```sh\npython\n")


def test_links_and_anchors():
    outside = split_fences(PAGE)[0]
    assert list(links(outside)) == [(23, "data.md#layout"), (23, "a/b.png")]
    assert anchors(outside) == {"title-with-code-and-more", "title-with-code-and-more-1"}
    assert "python" in [code for _, code in inline_code(outside)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("python -m a", True),
        ("RAY_ADDRESS=auto python -m a", True),
        (".venv/bin/python -m a", True),
        ("python", False),
        ("data.root=receipts", False),
        ("RAY_ADDRESS=auto", False),
    ],
)
def test_which_inline_code_is_a_command(code, expected):
    assert is_command(code) is expected


def test_blocks_of_commands_say_so() -> None:
    """A block without a language, or with another name for sh, would not be run."""
    for page in markdown_files():
        for fence in split_fences(page.read_text(encoding="utf-8"))[1]:
            assert fence.language not in ("bash", "shell", "zsh", "shell-session"), page
            if not fence.language:
                started = [line for line in fence.lines if is_command(line.removeprefix("$ "))]
                assert not started, f"{page.name}:{fence.line}: mark it sh or console: {started}"


def test_placeholders_are_filled_in():
    text = "python -m detector.predict checkpoint=… images=DIR [csv=…] [backbones=[a,b]]"
    assert filled(text) == (
        "python -m detector.predict checkpoint=runs/first/best images=receipts/images/val "
        "csv=new.csv backbones=[tf_efficientnet_lite0,mobilenetv3_small_100]"
    )
    assert filled("RAY_ADDRESS=auto python a.py x=$HOME") == "RAY_ADDRESS=auto python a.py x=$HOME"
    with pytest.raises(NoExampleError, match="'WHAT' is a placeholder without an example"):
        filled("python -m detector.train model.neck=WHAT")


def test_a_small_command_keeps_every_key_of_the_page():
    page = ["data.root=receipts", "train.epochs=30", "model.backbone=resnet18", "wrong.key=1"]
    small = dict(argument.split("=") for argument in made_small("detector.train", page))
    assert small["train.epochs"] == "1"
    assert small["model.backbone"] == "resnet18"
    assert small["wrong.key"] == "1"
    assert small["augment.crop_px"] == "64"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["from=runs/one", "output=runs/again"], ["space=a", "resume=true"]],
)
def test_some_commands_take_nothing_more(arguments):
    module = "orchestrator.search" if "resume=true" in arguments else "detector.train"
    assert made_small(module, arguments) == arguments


def test_the_shell_calls_what_bash_would(tmp_path):
    text = "for n in 1 2; do A=b nohup python -m x 'n=[$n, y]' n=$n; done && .venv/bin/pip -q"
    assert [str(call) for call in calls(text, tmp_path)] == [
        "A=b python -m x n=[$n, y] n=1",
        "A=b python -m x n=[$n, y] n=2",
        "pip -q",
    ]


def test_a_command_that_bash_refuses_is_an_error(tmp_path):
    with pytest.raises(AssertionError, match=r"bash does not take this command: .*syntax error"):
        calls("for in do", tmp_path)
    with pytest.raises(AssertionError, match="bash calls no program"):
        calls("cd .", tmp_path)
