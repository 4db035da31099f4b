"""Files are whole or not at all: whatever the packages write goes through `detector.core.files`.

The source is read, so a writer that no test runs is found too. What writes otherwise stands in a
list with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHOLE = {"replacing", "replacing_folder"}  # what is written in such a block is renamed at its end
CALLS = {"write_text", "write_bytes", "save", "savez", "savez_compressed", "savefig", "save_file"}
CALLS |= {"tofile", "to_csv", "imwrite", "touch", "truncate", "rename", "link", "symlink"}
CALLS |= {"hardlink_to", "symlink_to", "copyfile", "copy2", "copytree", "renames"}
CALLS |= {"SummaryWriter", "FileWriter", "FileHandler"}
NAMES = CALLS - {"write_text", "link", "save", "touch"}  # as plain functions
FLAGS = {"O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND"}
ELSEWHERE = {
    "detector/core/files.py": "the functions themselves",
    "detector/core/folders.py": "the functions themselves",
    "detector/data/page/cache.py:_write": "a machine's cache: entries carry checksums",
    "detector/data/synthetic/font_subset.py:subset": "made the font that is in the repository",
    "detector/data/synthetic/receipts.py:_publish": "a dataset is named when it is whole",
    "detector/data/synthetic/receipts.py:_write_json": "in a dataset's hidden folder",
    "detector/data/synthetic/receipts.py:_write_split": "in a dataset's hidden folder",
    "detector/training/storage/generations.py:newest_state": "sets a broken state aside",
    "detector/postprocess/maps.py:_open": "maps are made anew; their index comes last",
    "detector/training/monitor.py:__init__": "TensorBoard's events: readers stop at half a record",
    "orchestrator/events/file.py:_append": "events.jsonl: lines are added",
    "orchestrator/execute/trial.py:__init__": "log.txt: lines are added",
    "orchestrator/packs/archive.py:_extract": "in a hidden folder that gets its name when whole",
    "orchestrator/run/run_folder.py:create": "a hidden folder of flushed files gets its name",
    "orchestrator/store/own_disk.py:_remove_left": "a lock, which holds nothing",
    "orchestrator/store/own_disk.py:local_copy": "a lock, which holds nothing",
    "orchestrator/store/own_disk.py:working_folder": "a lock, which holds nothing",
    "orchestrator/store/storage.py:_open_journal": "cuts a line that was cut off already",
}


def writers(tree: ast.AST, function: str = "") -> Iterator[tuple[str, int]]:
    """Function and line of each call that may write a file, but inside `replacing` blocks."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        if isinstance(node, ast.With) and any(_called(i.context_expr) in WHOLE for i in node.items):
            continue
        if isinstance(node, ast.Call) and _writes(node):
            yield function, node.lineno
        yield from writers(node, inner)


def _called(node: ast.expr) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _writes(call: ast.Call) -> bool:
    func = call.func
    if isinstance(func, ast.Name):
        return func.id in NAMES or (func.id == "open" and _is_mode(call.args[1:2], call))
    if not isinstance(func, ast.Attribute):
        return False
    place = func.value.id if isinstance(func.value, ast.Name) else ""
    if func.attr == "open" and place == "os":
        flags = {n.attr for n in ast.walk(call) if isinstance(n, ast.Attribute)}
        return bool(flags & FLAGS) and "devnull" not in flags
    if func.attr == "open":
        return _is_mode(call.args[:1] if place != "io" else call.args[1:2], call)
    if func.attr in ("copy", "move"):  # of other things too
        return place == "shutil"
    if func.attr == "replace":  # of text, with two arguments, and of dataclasses too
        return place == "os" or (len(call.args) == 1 and not call.keywords)
    return func.attr in CALLS


def _is_mode(given: list[ast.expr], call: ast.Call) -> bool:
    modes = [*given, *(k.value for k in call.keywords if k.arg == "mode")]
    return any(
        isinstance(m, ast.Constant) and isinstance(m.value, str) and set(m.value) & set("wax+")
        for m in modes
    )


def test_everything_is_written_through_the_functions_for_it():
    found: dict[str, list[str]] = {}
    for package in ("detector", "orchestrator"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for function, line in writers(ast.parse(path.read_text(encoding="utf-8"))):
                key = name if name in ELSEWHERE else f"{name}:{function}"
                found.setdefault(key, []).append(f"{name}:{line} in {function}")
    new = [place for key in found.keys() - ELSEWHERE.keys() for place in found[key]]
    assert not new, "use detector.core.files, or say in ELSEWHERE why not:\n" + "\n".join(new)
    assert not ELSEWHERE.keys() - found.keys(), "these write no more: shorten the list"


@pytest.mark.parametrize(
    "line",
    [
        "path.write_text(text)",
        "path.write_bytes(data)",
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('r+b')",
        "path.open(encoding='utf-8', mode='x')",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "shutil.copy(one, other)",
        "shutil.copytree(one, other)",
        "shutil.move(one, other)",
        "os.replace(one, other)",
        "one.replace(other)",
        "one.rename(other)",
        "np.save(path, array)",
        "torch.save(state, path)",
        "save_file(tensors, path)",
        "picture.save(path)",
        "cv2.imwrite(path, picture)",
        "SummaryWriter(folder)",
        "with temporary() as path: path.write_text(text)",
    ],
)
def test_a_writer_is_found(line: str):
    assert [*writers(ast.parse(f"class A:\n def f():\n  {line}"))] == [("f", 3)]


@pytest.mark.parametrize(
    "line",
    [
        "write_text(path, text)",
        "path.open('rb')",
        "open(path)",
        "Image.open(path, formats=('JPEG',))",
        "os.open(folder, os.O_RDONLY)",
        "os.open(os.devnull, os.O_WRONLY)",
        "text.replace('a', 'b')",
        "array.copy()",
        "shape.move(points)",
        "replace(config, epochs=3)",
        "dataclasses.replace(config, epochs=3)",
        "with replacing(path) as new: new.write_text(text)",
        "with replacing(path) as new, new.open('w') as file: file.write(text)",
        "with replacing_folder(path) as new: save_file(tensors, new / 'model')",
    ],
)
def test_what_reads_or_is_renamed_is_no_writer(line: str):
    assert [*writers(ast.parse(f"def f():\n  {line}"))] == []
