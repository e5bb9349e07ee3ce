"""The locks hold the newest of what pyproject.toml allows, and the oldest, which `make test-oldest` runs on."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).parents[1]


def declared() -> list[Requirement]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    return [Requirement(line) for line in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]]


def locked(lock: str) -> dict[str, Version]:
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (CHECKOUT / lock).read_text(), re.MULTILINE)
    return {name: Version(version) for name, version in lines}


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_the_oldest_version_that_is_allowed_is_the_one_that_is_tested(requirement: Requirement) -> None:
    floors = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    tested = locked("requirements-oldest.lock")[canonicalize_name(requirement.name)]
    assert tested.release[: len(floors[0].release)] == floors[0].release


@pytest.mark.parametrize("requirement", declared(), ids=lambda requirement: requirement.name)
def test_the_locked_version_is_allowed(requirement: Requirement) -> None:
    assert locked("requirements.lock")[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-oldest.lock"])
def test_dagster_and_its_packages_are_of_one_version(lock: str) -> None:
    family = {name: version for name, version in locked(lock).items() if name.startswith("dagster")}
    assert len(family) > 1
    assert len(set(family.values())) == 1


def test_the_installed_dagster_packages_are_of_one_version() -> None:
    names = ("dagster", "dagster-webserver", "dagster-graphql", "dagster-shared", "dagster-pipes")
    assert len({metadata.version(name) for name in names}) == 1
