"""bundle.json says what it must, in one way only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deepseek.contracts
from deepseek.bundle import FORMAT, Bundle, EngineEntry, Input, Manifest, write_bundle
from deepseek.bundle import manifest as manifest_module
from deepseek.bundle.manifest import canonical_json, decode_object
from deepseek.bundle.write import fill_manifest
from deepseek.errors import DeepseekError, InputError, IntegrityError, TooLargeError


def reseal(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change bundle.json as a careful attacker would: canonical, with the hash of itself made anew."""
    path = bundle.path / "bundle.json"
    top = json.loads(path.read_bytes())
    top.pop("manifest_sha256")
    change(top)
    path.write_bytes(canonical_json({**top, "manifest_sha256": hashlib.sha256(canonical_json(top)).hexdigest()}))
    return bundle.path


def test_the_file_has_the_fields_that_other_tools_rely_on(bundle: Bundle) -> None:
    top = json.loads((bundle.path / "bundle.json").read_text())
    assert {
        "format", "name", "version", "created", "task", "target", "inputs", "outputs", "labels", "threshold",
        "engines", "lineage", "files",
    } <= top.keys()  # fmt: skip
    assert top["format"] == FORMAT == 2
    assert top["inputs"][0].keys() >= {"name", "modality", "dtype", "shape", "required"}
    assert top["engines"][0].keys() >= {"kind", "file", "parity"}
    assert top["lineage"].keys() >= {"parent", "data", "config", "seed", "versions"}
    assert top["files"]["model.onnx"] == hashlib.sha256((bundle.path / "model.onnx").read_bytes()).hexdigest()


def test_the_file_is_canonical_and_hashes_itself(bundle: Bundle) -> None:
    data = (bundle.path / "bundle.json").read_bytes()
    top = json.loads(data)
    assert data == (json.dumps(top, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
    seal = top.pop("manifest_sha256")
    assert seal == hashlib.sha256(canonical_json(top)).hexdigest()
    assert "收入" in data.decode()


def test_a_manifest_survives_its_bytes(bundle: Bundle) -> None:
    assert Manifest.from_bytes(bundle.manifest.to_bytes()) == bundle.manifest


def test_the_tasks_are_those_of_the_contracts() -> None:
    assert typing.get_args(manifest_module.TableTask) == typing.get_args(deepseek.contracts.Task)
    both = (*typing.get_args(manifest_module.TableTask), *manifest_module.PLAIN_TASKS)
    assert typing.get_args(manifest_module.Task) == both


def test_the_digest_covers_what_changes_an_answer(tmp_path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    same = dataclasses.replace(
        manifest, name="other", version="9", created="2027-01-01T00:00:00+00:00",
        engines=(EngineEntry("trees", "model.json", 0.0),), lineage=dataclasses.replace(manifest.lineage, seed=1),
    )  # fmt: skip
    digest = write_bundle(tmp_path / "a", manifest, files).digest
    assert write_bundle(tmp_path / "b", same, {**files, "card.json": b"{}", "example.json": b"{}"}).digest == digest
    others = [
        (dataclasses.replace(manifest, labels=("yes", "no")), files),
        (dataclasses.replace(manifest, target="late"), files),
        (dataclasses.replace(manifest, inputs=(Input("age", "numeric", "float32"),)), files),
        (dataclasses.replace(manifest, outputs=()), files),
        *((manifest, {**files, name: files[name] + b" "}) for name in files if name.endswith("n.json")),
        (manifest, {**files, "model.onnx": b"other"}),
        (manifest, {**files, "weights/more.bin": b"other"}),
    ]
    digests = [write_bundle(tmp_path / f"c{i}", *other).digest for i, other in enumerate(others)]
    assert len({digest, *digests}) == len(others) + 1
    bare = {name: data for name, data in files.items() if name != "decision.json"}  # which holds the threshold, too
    moved = dataclasses.replace(manifest, threshold=0.5)
    assert fill_manifest(manifest, bare).digest != fill_manifest(moved, bare).digest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"task": "ranking"}, "bundle.json.task"),
        ({"labels": ("a", "b", "c")}, "labels"),
        ({"labels": ("a", "a")}, "labels"),
        ({"labels": ("a", 1)}, r"labels\[1\]"),
        ({"task": "regression", "labels": ()}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"threshold": 9.0}, "threshold"),
        ({"threshold": -5.0}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": "0.5"}, "threshold"),
        ({"created": "yesterday"}, "created"),
        ({"name": "../x"}, "name"),
        ({"name": ""}, "name"),
        ({"version": 3}, "version"),
        ({"target": ""}, "target"),
        ({"target": "\ud800"}, "target"),
        ({"inputs": (Input("a", "numeric", "float64"),) * 2}, "inputs"),
        ({"inputs": (Input("a", "numeric", "float64", (-2,)),)}, "inputs.a.shape"),
        ({"inputs": ({"name": "a", "modalty": "x"},)}, "Did you mean 'modality'"),
        ({"inputs": ({"name": "a"},)}, "has no 'modality'"),
        ({"engines": (EngineEntry("x", "gone.onnx", 0.0),)}, "engines.x.file"),
        ({"engines": (EngineEntry("x", "model.onnx", -1.0),)}, "parity"),
        ({"engines": (EngineEntry("x", "model.onnx", float("inf")),)}, "parity"),
        ({"lineage": {"parent": "not a hash"}}, "lineage.parent"),
        ({"lineage": {"config": {"a": {"b": object()}}}}, r"lineage\.config\.a\.b"),
        ({"lineage": {"config": {1: 2}}}, "a name in bundle.json.lineage.config"),
        ({"lineage": {"seed": 1.5}}, "lineage.seed"),
        ({"lineage": []}, "lineage"),
    ],
)
def test_a_field_that_does_not_fit_is_named_and_nothing_is_written(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], change: dict[str, Any], named: str
) -> None:
    wrong = dataclasses.replace(manifest, **change)
    with pytest.raises(InputError, match=named):
        write_bundle(tmp_path / "out", wrong, files)
    assert not list(tmp_path.iterdir())


def test_a_config_nested_without_end_is_refused(tmp_path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    wrong = dataclasses.replace(manifest, lineage=dataclasses.replace(manifest.lineage, config={"a": {"b": 1}}))
    assert write_bundle(tmp_path / "fine", wrong, files).manifest.lineage.config == {"a": {"b": 1}}
    deep = json.loads('{"a":' * 40 + "1" + "}" * 40)
    with pytest.raises(InputError, match=r"nested too deeply"):
        write_bundle(
            tmp_path / "deep",
            dataclasses.replace(manifest, lineage=dataclasses.replace(manifest.lineage, config=deep)),
            files,
        )


def test_a_newer_format_says_to_update_and_an_older_one_to_migrate(bundle: Bundle) -> None:
    top = json.loads((bundle.path / "bundle.json").read_bytes())
    with pytest.raises(InputError, match=r"clone of this project.*git pull"):
        Manifest.from_bytes(canonical_json({**top, "format": FORMAT + 1}))
    with pytest.raises(InputError, match=r"deepseek migrate"):
        Manifest.from_bytes(canonical_json({**top, "format": 1}))


@pytest.mark.parametrize("format_version", [None, 0, -1, True, 2.0, "2"])
def test_a_format_that_is_no_number_is_refused(bundle: Bundle, format_version: object) -> None:
    top = json.loads((bundle.path / "bundle.json").read_bytes())
    with pytest.raises(IntegrityError, match=r"format number"):
        Manifest.from_bytes(canonical_json({**top, "format": format_version}))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 2, "threshold": NaN}',
        b'{"format": 2, "threshold": 1e999}', b'{"format": 2, "name": "\\ud800"}', b'{"format": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(DeepseekError, match=r"bundle.json"):
        Manifest.from_bytes(data)


def test_another_order_or_a_field_given_twice_is_refused(bundle: Bundle) -> None:
    data = (bundle.path / "bundle.json").read_bytes()
    top = json.loads(data)
    for other in (json.dumps(top).encode(), data + b"\n", data.replace(b"{\n", b'{\n  "name": "x",\n', 1)):
        with pytest.raises(IntegrityError, match=r"bundle.json was changed"):
            Manifest.from_bytes(other)


@pytest.mark.parametrize("change", [{"version": "2"}, {"manifest_sha256": "0" * 64}, {"manifest_sha256": None}])
def test_a_change_in_canonical_form_without_its_hash_is_refused(bundle: Bundle, change: dict[str, Any]) -> None:
    top = json.loads((bundle.path / "bundle.json").read_bytes())
    with pytest.raises(IntegrityError, match=r"does not match its manifest_sha256"):
        Manifest.from_bytes(canonical_json({**top, **change}))
    del top["manifest_sha256"]
    with pytest.raises(IntegrityError, match=r"does not match its manifest_sha256"):
        Manifest.from_bytes(canonical_json(top))


def test_a_manifest_over_one_mebibyte_is_neither_written_nor_read(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes]
) -> None:
    large = dataclasses.replace(manifest, target="x" * 2**20)
    with pytest.raises(TooLargeError, match=r"bundle.json"):
        write_bundle(tmp_path / "out", large, files)
    with pytest.raises(TooLargeError, match=r"bundle.json"):
        decode_object(b" " * (2**20 + 1))


def test_a_changed_label_with_a_hash_made_anew_does_not_match_the_digest(bundle: Bundle) -> None:
    def swap(top: dict[str, Any]) -> None:
        top["labels"].reverse()

    from deepseek.bundle import open_bundle

    with pytest.raises(IntegrityError, match=r"bundle.json was changed: its digest"):
        open_bundle(reseal(bundle, swap))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a//b", "a/./b", "a\\b", "C:/x", "", "bundle.json", "x/../../y", "a\x00b"]
)
def test_a_listed_path_outside_the_folder_is_refused_whatever_its_hash(bundle: Bundle, name: str) -> None:
    def add(top: dict[str, Any]) -> None:
        top["files"][name] = "0" * 64

    from deepseek.bundle import open_bundle, verify_bundle

    path = reseal(bundle, add)
    with pytest.raises(IntegrityError, match=r"bundle may not hold"):
        open_bundle(path)
    assert any("bundle may not hold" in problem for problem in verify_bundle(path))
