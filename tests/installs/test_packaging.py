"""What an install brings: the server and the edge device get no torch, and every requirement is a range."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import deepseek
from deepseek.extras import ROOMS

ROOT = Path(__file__).resolve().parents[2]


def brought_by(extra: str) -> set[str]:
    """Names of all distributions that `pip install deepseek[extra]` would bring, through every level."""
    packages: set[str] = set()
    waiting = [("deepseek", extra)]
    seen = set(waiting)
    while waiting:
        name, wanted = waiting.pop()
        for requirement in map(Requirement, installed_requires(name)):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": wanted}):
                continue
            packages.add(canonicalize_name(requirement.name))
            for more in {"", *requirement.extras}:
                key = (canonicalize_name(requirement.name), more)
                if key not in seen:
                    seen.add(key)
                    waiting.append(key)
    return packages


def installed_requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


@pytest.mark.parametrize("extra", ["", "serve", "edge", "explain", "tabular", "automl"])
def test_an_install_without_training_brings_no_torch(extra: str) -> None:
    brought = brought_by(extra)
    assert {"numpy", "click", "rich", "safetensors"} <= brought
    assert not {"torch", "captum", "shap"} & brought


def test_the_edge_install_is_small() -> None:
    assert not {"pandas", "pyarrow", "scikit-learn", "xgboost-cpu", "httptools"} & brought_by("edge")


def test_the_train_install_does_bring_torch() -> None:
    assert "torch" in brought_by("train")


def test_only_one_xgboost_is_brought() -> None:
    assert len({"xgboost", "xgboost-cpu"} & brought_by("all")) == 1


def test_all_brings_what_each_room_needs() -> None:
    everything = brought_by("all")
    for extra in ("train", "tabular", "automl", "serve", "explain", "edge"):
        assert brought_by(extra) <= everything, extra


def test_all_brings_every_module_that_doctor_looks_for() -> None:
    brought, homes = brought_by("all"), packages_distributions()
    for room, modules in ROOMS.items():
        for module in modules:
            assert {canonicalize_name(home) for home in homes[module]} & brought, f"{room} needs {module}"


def test_every_requirement_is_a_range() -> None:
    for requirement in map(Requirement, requires("deepseek") or []):
        if requirement.name != "deepseek":
            operators = {part.operator for part in requirement.specifier}
            assert ">=" in operators, requirement
            assert not operators & {"==", "==="}, requirement


def test_the_version_is_the_one_that_the_package_says() -> None:
    assert version("deepseek") == deepseek.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", deepseek.__version__)
    assert metadata("deepseek")["License-Expression"] == "Apache-2.0"


def test_the_image_has_the_version_before_it_installs_what_the_package_needs() -> None:
    """The first layer holds the package's requirements and its version, and pip reads the version from this file."""
    version_file = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["version"]["path"]
    before, _, _ = (ROOT / "docker" / "Dockerfile").read_text("utf-8").partition("pip --python")
    copied = [word for line in before.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert version_file in copied
    assert all((ROOT / name).exists() for name in copied)
