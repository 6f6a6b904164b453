"""The loop: what a server is unsure of is labeled, a model of the labels is compared on the same test rows, and takes
its place as a shadow where it is better; else it is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("httptools")

from automl.label.conftest import MakeProject
from automl.label.test_project import change
from deepseek.automl.label.collect.config import CollectConfig
from deepseek.automl.label.collect.sink import UnsureSink
from deepseek.automl.label.project.additions import count_served
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.release import find_current, next_version, release
from deepseek.bundle import open_bundle
from deepseek.cli import main
from deepseek.errors import InputError
from support.servers.serving import started, until

NUM_ROWS = 200


def test_versions_go_on_as_they_are_named() -> None:
    assert [next_version(name) for name in ("", "v9", "007", "first")] == ["v1", "v10", "008", "first-2"]


def test_a_model_without_folders_of_versions_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    assert find_current(tmp_path, "claims") is None
    (tmp_path / "claims" / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match="is a model itself"):
        find_current(tmp_path, "claims")


def test_names_that_leave_the_repository_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name"):
        release(tmp_path, tmp_path, tmp_path, "../claims")


def make_labeled(make_project: MakeProject, folder: str, *, is_right: bool) -> Path:
    """A project whose test rows are labeled as they are; the others so, too, or one in two the other way."""
    with make_project(folder, num_rows=NUM_ROWS, num_test=60) as project:
        for item in [item for item in project.store.items() if item.same_as is None]:
            is_fire = "smoke" in str(item.content["story"]) or (
                not is_right and not item.is_test and item.number % 4 == 2
            )
            project.store.record(change(f"c{item.number}", item.number, "fire" if is_fire else "water"))
        return project.folder


@pytest.mark.slow
def test_a_better_model_is_released_as_a_shadow_and_a_worse_one_is_refused(
    make_project: MakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [make_labeled(make_project, name, is_right=name == "good") for name in ("bad", "good")]
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, out in zip(folders, (old, new), strict=True):
        words = ["--out", str(out), "--trials", "1", "--candidates", "linear", "--json"]
        assert main(["ship", str(folder), *words]) == 0
    project, repository = folders[1], tmp_path / "models"
    repository.mkdir()
    words = ["label", "release", str(project), "--to", str(repository), "--name", "claims", "--json"]

    def run(bundle: Path, *more: str) -> tuple[int, dict[str, object]]:
        capsys.readouterr()
        code = main([*words[:3], str(bundle), *words[3:], *more])
        return code, json.loads(capsys.readouterr().out)

    code, first = run(old)
    assert (code, first["version"], first["current"]) == (0, "v1", None)
    code, second = run(new)
    # the copy of a test row is tested on, too
    assert (code, second["version"], second["current"], second["num_tested"]) == (0, "v2", "v1", 61)
    assert second["routes"] == ["claims=v1,v2:shadow", "claims=v1:0.9,v2:0.1", "claims=v2"]
    assert open_bundle(repository / "claims" / "v2").manifest == open_bundle(new).manifest
    code, again = run(old)
    assert (code, again["is_released"], again["current"]) == (3, False, "v2")
    assert "v2" in str(again["reason"])
    assert "61 test rows" in str(again["reason"])
    assert run(new)[0] == 3
    assert sorted(path.name for path in (repository / "claims").iterdir()) == ["v1", "v2"]
    assert run(new, "--unless-worse")[1]["version"] == "v3"

    unsure = f"{project},share=1,margin=1,every_s=0.05"
    with started(
        "--repository", repository, "--route", "claims=v1,v2:shadow", "--unsure-to", unsure, "--workers", "0"
    ) as server:
        rows = [{"story": f"smoke and water number {number}", "amount": 1} for number in range(3)]
        answer = httpx.post(f"{server.url}/v1/models/claims:predict", json={"instances": rows}, timeout=60)
        assert (answer.status_code, answer.headers["x-model-version"]) == (200, "v1")
        with Project.open(project) as opened:
            until(lambda: count_served(opened.store) == len(rows))
            served = [item for item in opened.store.items() if item.key.startswith("served")]
            assert [item.content for item in served] == rows
            assert not any(item.is_test for item in served)
        server.stop()
    with make_project("others", labels=("a", "b")) as other, pytest.raises(InputError, match="answers fire, water"):
        UnsureSink(CollectConfig.parse(str(other.folder)), {"claims": open_bundle(new).manifest})
