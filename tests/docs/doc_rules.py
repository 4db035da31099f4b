"""What each documented command is run with: placeholders filled in, sizes made small.

Whatever a page says is passed on. Settings that make a command small are added behind it; where
a page gives one of them itself, the page's value is checked first and then replaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# ---- a training and a search of a few seconds ---------------------------------------------

TINY = {
    "data.longest_side_px": "128",
    "data.train_pages": "4",
    "data.val_pages": "2",
    "augment.crop_px": "64",
    "model.backbone": "mobilenetv3_small_050",
    "model.weights": "none",
    "model.neck_channels": "16",
    "train.batch_size": "2",
    "train.epochs": "1",
    "train.threads": "1",
}
_NOT_OF_A_SEARCH = (
    "model.backbone",
    "train.epochs",
    "train.threads",
)  # the space's and the budget's
TINY_SEARCH = {key: value for key, value in TINY.items() if key not in _NOT_OF_A_SEARCH} | {
    "budget.trials": "1",
    "budget.epochs": "1",
    "budget.grace_epochs": "1",
    "resources.gpus_per_trial": "0",
}
# By module: added behind a page's own settings, and in place of the page's value for the same key.
SMALL: dict[str, dict[str, str]] = {
    "orchestrator.search": TINY_SEARCH,
    "detector.train": TINY,
    "detector.synthesize": {"images": "2", "val_images": "1", "longest_side_px": "256"},
    "detector.models": {"size": "64"},
    "detector.export": {"pages": "1"},
}
# In place of a page's value that would take too long, where the page has the key.
SHORTER = {
    "confirm.top": "1",
    "confirm.seeds": "1",
    "train.eval_every": "1",
    "halvings": "1",
    "folds": "2",
}
KEPT = ("model.backbone",)  # a page's value that is small enough as it is


def made_small(module: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of a call with those that keep it short; every key of the page stays."""
    if "--json" in arguments:
        return ["--json", *made_small(module, [a for a in arguments if a != "--json"])]
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(given) < len(arguments) or not given:
        return list(arguments)  # --help, or as it is
    small = {k: v for k, v in SMALL.get(module, {}).items() if k not in KEPT or k not in given}
    small = {k: v for k, v in small.items() if f"search.narrow.{k}" not in given}
    if "from" in given:
        small = {}  # a training is repeated as it was
    if given.get("resume") == "true" and module == "orchestrator.search":
        added = given.get("budget.trials", "").startswith("+")
        small = {"budget.trials": "+1"} if added else {}  # a run keeps its settings
    if needs_gpu(arguments):
        small.pop("resources.gpus_per_trial", None)
    if given.get("resources.gpu") == "auto":
        small.pop("resources.gpus_per_trial", None)
    short = {k: v for k, v in SHORTER.items() if k in given}
    return [f"{key}={value}" for key, value in (given | small | short).items()]


def needs_gpu(arguments: Sequence[str]) -> bool:
    """Whether a search narrows the backbones of a space that are there with a GPU only."""
    return any(a.startswith("search.narrow.model.backbone=[resnet18") for a in arguments)


# ---- placeholders --------------------------------------------------------------------------

LITERALS = {
    "[a,b]": "[tf_efficientnet_lite0,mobilenetv3_small_100]",
    ", …]": "]",
    "runs/RUN/trials/TRIAL": "runs/leader",
    "runs/RUN": "runs/first",
    "RUN.zip": "first.zip",
    "/mnt/shared/": "",
    "gt_eval_doc_v1_kr.zip": "gt",
    "res_eval_doc_v1_kr.zip": "res",
}
BY_KEY = {
    "space": "dbnetpp",
    "name": "first",
    "data.root": "receipts",
    "root": "new_receipts",
    "checkpoint": "runs/first/best",
    "config": "runs/first/best/config.yaml",
    "model.backbone": TINY["model.backbone"],
    "trial": "0",
    "images": "receipts/images/val",
    "output": "new_output",
    "csv": "new.csv",
    "visualize": "new_pictures",
    "gt": "receipts/jsons/val.json",
    "pred": "pred.json",
    "seed": "1",
}
BY_WORD = {"N": "2", "SEED": "1"}
_PLACEHOLDER = re.compile(r"…|(?<![$\w-])[A-Z][A-Z_]*\b(?!=)")
_OPTIONAL = re.compile(r"(?<= )\[([^\s\[\]]+=(?:[^\[\]]|\[[^\[\]]*\])*)\]")


class NoExampleError(Exception):
    """A placeholder for which there is no example."""


def filled(text: str) -> str:
    """The command with all optional parts, and examples for placeholders.

    `…` and words in capitals are placeholders. Raises NoExampleError for one without example.
    """
    text = _OPTIONAL.sub(r"\1", text)
    for literal, example in LITERALS.items():
        text = text.replace(literal, example)
    text = " ".join(_filled_word(word) for word in text.split(" "))
    left = _PLACEHOLDER.search(text)
    if left:
        raise NoExampleError(f"{left[0]!r} is a placeholder without an example in doc_rules.py")
    return text


def _filled_word(word: str) -> str:
    for name, example in BY_WORD.items():
        word = re.sub(rf"(?<![$\w]){name}\b(?!=)", example, word)
    key, equals, value = word.partition("=")
    if equals and _PLACEHOLDER.search(value) and key in BY_KEY:
        return f"{key}={BY_KEY[key]}"
    return word


# ---- commands that no test can run ---------------------------------------------------------


@dataclass(frozen=True)
class NotRun:
    """Calls that match `pattern` are not run: why, and which file runs or checks the same.

    The arguments of one of this repository's commands are read all the same.
    """

    pattern: str
    reason: str
    elsewhere: str | None = None


SEARCH = r"python -m orchestrator\.search .*"
NOT_RUN = (
    NotRun(r"ruff |mypy$", "looks at the whole repository", ".ci/run"),
    NotRun(r"mkdocs build ", "builds the site into the repository", "tests/docs/test_site.py"),
    NotRun(r"mkdocs serve", "serves until it is stopped", "tests/docs/test_site.py"),
    NotRun(r"python3? -m venv ", "makes a fresh environment", ".ci/run"),
    NotRun(r"python -m pytest\b", "it is these tests", ".ci/run"),
    NotRun(r"python -m coverage ", "measures these tests"),
    NotRun(r"pip download ", "needs the network"),
    NotRun(r"pip install ", "needs the network; its extras are checked", ".ci/run"),
    NotRun(
        r"tensorboard ",
        "serves until it is stopped",
        "tests/orchestrator/track/test_tensorboard.py",
    ),
    NotRun(r"(mlflow|wandb|optuna-dashboard) ", "serves, or needs an account"),
    NotRun(
        r"ray (up|down|attach|exec|job|monitor|rsync-up|rsync-down|dashboard|start|stop|status"
        r"|get-auth-token)",
        "needs the machines of a cluster",
        "tests/test_cluster_yaml.py",
    ),
    NotRun(r"(sbatch|squeue|scancel|scontrol) ", "needs Slurm", "tests/cluster/test_slurm.py"),
    NotRun(r"jq ", "needs a run that has failed", "tests/docs/test_events.py"),
    NotRun(r"aws ", "needs an account of AWS"),
    NotRun(r"(ssh|ssh-copy-id|ssh-keygen|scp|rsync|sudo|mount|chmod) ", "sets up a machine"),
    NotRun(r"kubectl ", "needs a Kubernetes cluster", "tests/cluster/test_rayjob.py"),
    NotRun(r"sky ", "needs an account of a cloud", "tests/cluster/test_skypilot.py"),
    NotRun(SEARCH + r"storage=(postgresql|mysql)", "needs a database server"),
    NotRun(SEARCH + r"=s3://", "needs a bucket", "tests/orchestrator/run/test_bucket_run.py"),
    NotRun(
        r"python -m orchestrator\.cluster ",
        "refuses the shipped files, of which parts have to be filled in",
        "tests/orchestrator/launch/test_cluster_file.py",
    ),
    NotRun(
        r"python -m orchestrator\.preflight ",
        "would name the GPU that the tests' Ray has on paper",
        "tests/orchestrator/test_preflight.py",
    ),
    NotRun(r"python tests/\S+ regenerate$", "writes the files that tests compare with"),
    NotRun(r"python docs/pictures\.py", "takes pictures of a search, which it does first"),
    NotRun(r"pip-audit ", "asks a service on the network"),
)
# Optional packages without which a command cannot run, and the extras that install them.
NEEDED = {
    r"track=\S*mlflow": ("mlflow", "mlflow"),
    r"track=\S*wandb": ("wandb", "wandb"),
    r"\b(init|checkpoint|other)=ppocrv6_small": ("rapidocr", "ppocr"),
}
