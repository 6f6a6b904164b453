"""A bundle of an older format becomes one of the current format; the old one stays."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from deepseek.bundle import FORMAT, Bundle, open_bundle, verify_bundle
from deepseek.bundle.migrate import MIGRATION_STEPS, migrate_bundle
from deepseek.errors import InputError, IntegrityError, MissingError


@pytest.fixture
def old(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A bundle of format 1, written by hand as its writer did."""
    path = tmp_path / "loans"
    contents = {name: data for name, data in files.items() if name != "decision.json"}
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    top = {
        "format": 1, "name": "loans", "version": "3", "created": "2025-05-01T08:00:00+00:00", "task": "binary",
        "target": "default", "inputs": [{"name": "age", "modality": "numeric", "dtype": "float64", "shape": [],
        "required": True}], "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [2]}],
        "labels": ["no", "yes"], "threshold": 0.3,
        "engines": [{"kind": "onnxruntime", "file": "model.onnx", "parity": 2e-7}],
        "lineage": {"parent": None, "data": "cd" * 32, "config": {}, "seed": 5, "versions": {}},
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }  # fmt: skip
    (path / "bundle.json").write_text(json.dumps(top, indent=2))
    return path


def edit(path: Path, **change: Any) -> None:
    top = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps({**top, **change}, indent=2))


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_is_a_step_from_every_older_format() -> None:
    assert sorted(MIGRATION_STEPS) == list(range(1, FORMAT))


def test_an_old_bundle_is_not_opened_but_told_how_to_be(old: Path) -> None:
    with pytest.raises(InputError, match=r"deepseek migrate"):
        open_bundle(old)
    assert "deepseek migrate" in verify_bundle(old)[0]


def test_the_new_bundle_is_whole_names_its_parent_and_the_old_one_stays(old: Path) -> None:
    before = state(old)
    done = migrate_bundle(old)
    assert state(old) == before
    assert done.out == old.with_name("loans-format2")
    new = open_bundle(done.out)
    assert verify_bundle(done.out) == []
    assert new.digest == done.digest
    assert new.manifest.format == FORMAT
    assert new.manifest.lineage.parent == done.parent == hashlib.sha256(before["bundle.json"]).hexdigest()
    assert (new.manifest.version, new.manifest.lineage.seed, new.manifest.threshold) == ("3", 5, 0.3)
    assert json.loads(new.read("decision.json")) == {"threshold": 0.3, "costs": None, "interval": None}
    assert {name: new.read(name) for name in before if name != "bundle.json"} == {
        name: data for name, data in before.items() if name != "bundle.json"
    }


def test_a_dry_run_writes_nothing_and_tells_the_same_digest(old: Path) -> None:
    before = state(old.parent)
    dry = migrate_bundle(old, dry_run=True)
    assert state(old.parent) == before
    assert not dry.written
    assert dry.changes
    assert migrate_bundle(old, out=old.with_name("new")).digest == dry.digest


def test_a_current_bundle_is_left_alone(bundle: Bundle) -> None:
    done = migrate_bundle(bundle.path)
    assert (done.changes, done.written, done.out) == ((), False, bundle.path)
    assert [path.name for path in bundle.path.parent.iterdir()] == ["loans"]


def test_a_target_that_exists_is_refused(old: Path) -> None:
    migrate_bundle(old)
    with pytest.raises(InputError, match=r"is not empty.*--out"):
        migrate_bundle(old)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3}, {"format": "1"}, {"format": None}, {"files": None}, {"files": {"../x": "0" * 64}},
        {"files": {"model.json": 3}}, {"lineage": None}, {"lineage": {"seed": "3"}}, {"task": "x"}, {"surprise": 1},
        {"threshold": "high"}, {"inputs": 3},
    ],
)  # fmt: skip
def test_an_old_manifest_that_does_not_fit_is_refused_and_nothing_is_written(old: Path, change: dict[str, Any]) -> None:
    edit(old, **change)
    with pytest.raises((InputError, IntegrityError), match=r"bundle.json"):
        migrate_bundle(old)
    assert [path.name for path in old.parent.iterdir()] == ["loans"]


def test_an_old_bundle_that_is_not_whole_is_refused_by_name(old: Path) -> None:
    (old / "model.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"model.json was changed"):
        migrate_bundle(old)
    (old / "model.json").unlink()
    with pytest.raises(IntegrityError, match=r"'model.json' is missing"):
        migrate_bundle(old)
    (old / "bundle.json").unlink()
    with pytest.raises(MissingError, match=r"bundle.json is missing"):
        migrate_bundle(old)


def test_a_format_1_bundle_with_a_decision_file_is_refused(old: Path) -> None:
    (old / "decision.json").write_bytes(b"{}")
    top = json.loads((old / "bundle.json").read_text())
    edit(old, files={**top["files"], "decision.json": hashlib.sha256(b"{}").hexdigest()})
    with pytest.raises(InputError, match=r"decision.json"):
        migrate_bundle(old)
