"""pyproject.toml's bounds, the two lists of versions, what is installed and the docs agree."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
DEV = [Requirement(text) for text in EXTRAS["dev"]]
OPTIONAL = [Requirement(text) for texts in EXTRAS.values() for text in texts]
# Their lower bounds are not among what the tests were run with.
NOT_RUN = {"ruff", "mypy", "types-pyyaml", "types-shapely", "mkdocs", "psycopg"}
NOT_RUN |= {"pytest-xdist", "coverage"}


def name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def bounds(requirement: Requirement) -> dict[str, Version]:
    return {item.operator: Version(item.version) for item in requirement.specifier}


def pins(file: str) -> dict[str, Version]:
    lines = (ROOT / "requirements" / file).read_text().splitlines()
    found = [line for line in lines if not line.startswith("#")]
    # Nothing but names and versions: no addresses, paths, digests or editable packages.
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", line) for line in found)
    pairs = [line.split("==") for line in found]
    versions = {canonicalize_name(name): Version(version) for name, version in pairs}
    assert len(versions) == len(found)
    return versions


@pytest.mark.parametrize("requirement", [*RUNTIME, *OPTIONAL], ids=str)
def test_every_package_has_a_lower_and_an_upper_bound(requirement: Requirement) -> None:
    found = bounds(requirement)
    assert found.keys() in ({">=", "<"}, {"=="})
    if "==" not in found:
        assert found[">="] < found["<"]
        assert found["<"].micro == found["<"].minor == 0  # a major version


def test_a_package_has_the_same_bounds_everywhere() -> None:
    seen: dict[str, str] = {}
    for requirement in [*RUNTIME, *OPTIONAL]:
        text = str(requirement.specifier)
        assert seen.setdefault(name_of(requirement), text) == text


@pytest.mark.parametrize("requirement", [*RUNTIME, *DEV], ids=str)
def test_constraints_lie_within_the_bounds(requirement: Requirement) -> None:
    assert pins("constraints.txt")[name_of(requirement)] in requirement.specifier


def test_constraints_need_no_upper_bound_to_be_moved() -> None:
    """The newest that was tested has the last major version that is allowed."""
    constraints = pins("constraints.txt")
    for requirement in [*RUNTIME, *DEV]:
        upper = bounds(requirement).get("<")
        if upper is not None:
            assert constraints[name_of(requirement)].major == upper.major - 1


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    lower = {
        name_of(r): bounds(r).get(">=", bounds(r).get("=="))
        for r in [*RUNTIME, *DEV]
        if name_of(r) not in NOT_RUN
    }
    oldest = pins("oldest.txt")
    assert oldest.keys() == lower.keys()
    for name, version in lower.items():
        # opencv counts its builds in a fourth number
        assert oldest[name].release[: len(version.release)] == version.release


@pytest.mark.parametrize("requirement", [*RUNTIME, *DEV], ids=str)
def test_what_is_installed_lies_within_the_bounds(requirement: Requirement) -> None:
    name = name_of(requirement)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        assert name in NOT_RUN | {name_of(r) for r in DEV}  # a development tool may be left out
        return
    assert Version(version) in requirement.specifier


def test_the_table_of_licences_names_each_package_once() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z][a-z0-9-]*) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    named = [row[0] for row in rows if row[0] != "package"]
    assert sorted(named) == sorted({name_of(r) for r in [*RUNTIME, *OPTIONAL]})


def test_licences_are_those_of_the_installed_packages() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z][a-z0-9-]*) \| .+ \| (.+) \|$", text, re.MULTILINE)
    checked = 0
    for name, licence in rows:
        try:
            about = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue
        said = [about.get("License-Expression"), *(about.get_all("Classifier") or [])]
        told = " ".join([*filter(None, said), about.get("License") or ""]).lower()
        first = re.split(r"[-, ]", licence.lower())[0]
        checked += 1
        assert {"psf": "python software foundation"}.get(first, first) in told or "unknown" in told
    assert checked >= len(RUNTIME)
