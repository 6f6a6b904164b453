"""A bundle of which two files say different things is refused by all who open, check or write it, with both named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.bundle import EngineEntry, Input, Lineage, Manifest, Output, open_bundle, verify_bundle, write_bundle
from deepseek.bundle.manifest import canonical_json
from deepseek.errors import InputError, IntegrityError

Change = Callable[[dict[str, Any]], None]
BINARY = Manifest(
    name="loans", version="1", created="2026-01-31T12:00:00+00:00", task="binary", target="default",
    inputs=(Input("age", "numeric", "float64"), Input("region", "category", "str")),
    outputs=(Output("label", "str"), Output("probabilities", "float32", (2,))),
    labels=("no", "yes"), threshold=0.25, engines=(EngineEntry("onnxruntime", "model.onnx", 0.0),),
    lineage=Lineage(config={"positive": "yes"}),
)  # fmt: skip
MANY = dataclasses.replace(
    BINARY, task="multiclass", labels=("a", "b", "c"), threshold=None, lineage=Lineage(),
    outputs=(Output("label", "str"), Output("probabilities", "float32", (3,))),
)  # fmt: skip
NUMBERS = dataclasses.replace(
    BINARY, task="regression", labels=(), threshold=None, lineage=Lineage(),
    outputs=(Output("value", "float32"), Output("interval", "float32", (2,))),
)  # fmt: skip
COLUMNS = [{"name": "age", "kind": "numeric"}, {"name": "region", "kind": "category"}]


def files_of(manifest: Manifest) -> dict[str, Any]:
    """Everything that says something of a manifest, in agreement with it."""
    num_labels = len(manifest.labels)
    threshold = manifest.threshold
    return {
        "decision.json": {
            "threshold": threshold, "threshold_rule": threshold and {"value": threshold},
            "costs": [[float(i != j) for j in range(num_labels)] for i in range(num_labels)] or None,
            "interval": None if num_labels else {"level": 0.9, "half_width": 2.0},
        },
        "model.json": {
            "task": manifest.task, "labels": list(manifest.labels), "parts": [{"file": "weights/a.bin"}],
            "calibration": {"bias": [0.0] * (num_labels if manifest.task == "multiclass" else 1)},
        },
        "preprocess.json": {"columns": [dict(column) for column in COLUMNS]},
        "example.json": {"age": 40.0, "region": "south"},
        "model.onnx": b"graph",
        "weights/a.bin": b"a",
        "weights/b.bin": b"b",
    }  # fmt: skip


def as_bytes(files: dict[str, Any]) -> dict[str, bytes]:
    return {name: data if isinstance(data, bytes) else json.dumps(data).encode() for name, data in files.items()}


def tampered(path: Path, name: str, data: bytes) -> None:
    """Put `data` in the file `name` of a bundle, and hashes that fit into the manifest."""
    (path / name).write_bytes(data)
    top = json.loads((path / "bundle.json").read_bytes())
    del top["manifest_sha256"]
    top["files"][name] = hashlib.sha256(data).hexdigest()
    top["digest"] = Manifest.from_dict(top).model_digest()
    seal = hashlib.sha256(canonical_json(top)).hexdigest()
    (path / "bundle.json").write_bytes(canonical_json({**top, "manifest_sha256": seal}))


def all_refuse(path: Path, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        open_bundle(path)
    assert re.search(words, verify_bundle(path)[0])


@pytest.mark.parametrize("manifest", [BINARY, MANY, NUMBERS], ids=lambda manifest: manifest.task)
def test_a_bundle_whose_files_agree_is_whole(manifest: Manifest, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", manifest, as_bytes(files_of(manifest))).path
    assert verify_bundle(path) == []
    assert open_bundle(path).manifest.labels == manifest.labels


@pytest.mark.parametrize("manifest", [BINARY, MANY, NUMBERS], ids=lambda manifest: manifest.task)
def test_a_bundle_that_says_nothing_twice_is_whole(manifest: Manifest, tmp_path: Path) -> None:
    silent = dataclasses.replace(manifest, threshold=None)  # for two classes that is 0.5, as it is without a decision
    assert verify_bundle(write_bundle(tmp_path / "b", silent, dict.fromkeys(files_of(silent), b"{}")).path) == []


CHANGES: list[tuple[Manifest, str, Change, str]] = [
    (BINARY, "decision.json", lambda d: d.update(threshold=0.9), "decision.json: threshold is 0.9, but bundle.json"),
    (BINARY, "decision.json", lambda d: d.update(threshold=None), "decision.json: threshold is None, but bundle.json"),
    (BINARY, "decision.json", lambda d: d.update(threshold=9.0), "decision.json: threshold is 9.0"),
    (BINARY, "decision.json", lambda d: d.update(threshold=-5), "decision.json: threshold is -5"),
    (BINARY, "decision.json", lambda d: d.update(threshold="0.25"), "decision.json: threshold is '0.25'"),
    (BINARY, "decision.json", lambda d: d.update(threshold=True), "decision.json: threshold is True"),
    (BINARY, "decision.json", lambda d: d.update(threshold=10**400), "decision.json: threshold is 1000"),
    (BINARY, "decision.json", lambda d: d["threshold_rule"].update(value=0.3), "threshold_rule.value is 0.3"),
    (BINARY, "decision.json", lambda d: d.update(interval={"level": 0.9}), "decision.json: interval"),
    (BINARY, "decision.json", lambda d: d["costs"].pop(), "decision.json: costs"),
    (MANY, "decision.json", lambda d: d.update(threshold=0.5), "decision.json: threshold is 0.5"),
    (MANY, "decision.json", lambda d: d["costs"][1].append(1.0), "decision.json: costs"),
    (NUMBERS, "decision.json", lambda d: d.update(threshold=0.5), "decision.json: threshold is 0.5"),
    (BINARY, "model.json", lambda d: d["labels"].reverse(), r"model.json: labels is \['yes', 'no'\], but bundle.json"),
    (MANY, "model.json", lambda d: d["labels"].reverse(), "model.json: labels"),
    (MANY, "model.json", lambda d: d["labels"].pop(), "model.json: labels"),
    (NUMBERS, "model.json", lambda d: d["labels"].append("a"), "model.json: labels"),
    (BINARY, "model.json", lambda d: d.update(task="regression"), "model.json: task is 'regression', but bundle.json"),
    (BINARY, "model.json", lambda d: d["calibration"]["bias"].append(0.0), "model.json: calibration.bias has 2"),
    (MANY, "model.json", lambda d: d["calibration"]["bias"].pop(), "model.json: calibration.bias has 2"),
    (BINARY, "model.json", lambda d: d["parts"][0].update(file="../x"), r"parts\[0\].file is '../x', which"),
    (BINARY, "model.json", lambda d: d["parts"].append(d["parts"][0]), r"parts\[1\].file is 'weights/a.bin', which an"),
    (BINARY, "preprocess.json", lambda d: d["columns"].reverse(), "preprocess.json: the list of columns"),
    (BINARY, "preprocess.json", lambda d: d["columns"].pop(), "preprocess.json: the list of columns"),
    (BINARY, "preprocess.json", lambda d: d["columns"][0].update(name="Age"), "preprocess.json: the list of columns"),
    (BINARY, "preprocess.json", lambda d: d["columns"][1].update(kind="text"), "preprocess.json: the kind of 'region'"),
    (BINARY, "example.json", lambda d: d.update(Age=3), "example.json: it has a value for 'Age'"),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "name", "change", "words"), CHANGES)
def test_what_two_files_say_differently_is_refused(
    manifest: Manifest, name: str, change: Change, words: str, tmp_path: Path
) -> None:
    files = files_of(manifest)
    path = write_bundle(tmp_path / "b", manifest, as_bytes(files)).path
    change(files[name])
    tampered(path, name, as_bytes(files)[name])
    all_refuse(path, words)
    with pytest.raises(InputError, match=words):
        write_bundle(tmp_path / "c", manifest, as_bytes(files))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "data",
    [
        b'{"threshold": NaN}', b'{"threshold": 1e999}', b'{"threshold": -Infinity}', b'{"a": {"b": [NaN]}}', b"[]", b"",
        b"5", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["decision.json", "model.json", "preprocess.json"])
def test_what_is_no_object_of_finite_numbers_is_refused_by_name(name: str, data: bytes, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", BINARY, as_bytes(files_of(BINARY))).path
    tampered(path, name, data)
    all_refuse(path, name.replace(".", r"\."))


SAMPLES = {"media": [{"name": "photo", "kind": "image"}], "table": {"columns": [{"name": "age", "kind": "numeric"}]}}


def test_an_example_that_is_no_object_is_refused_and_one_without_a_number_is_not(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "b", BINARY, as_bytes(files_of(BINARY))).path
    tampered(path, "example.json", b'{"age": NaN, "region": "south"}')
    assert verify_bundle(path) == []
    for data in (b"", b"[]", b"[" * 100_000):
        tampered(path, "example.json", data)
        all_refuse(path, r"example\.json")


@pytest.mark.parametrize("inputs", [("photo", "age"), ("age", "photo"), ("photo",), ("photo", "Age")])
def test_the_columns_of_samples_are_the_inputs(inputs: tuple[str, ...], tmp_path: Path) -> None:
    kinds = {"photo": ("image", "bytes"), "age": ("numeric", "float64"), "Age": ("numeric", "float64")}
    manifest = dataclasses.replace(BINARY, inputs=tuple(Input(name, *kinds[name]) for name in inputs), engines=())
    files = {"samples.json": json.dumps(SAMPLES).encode(), "decision.json": b'{"threshold": 0.25}'}
    if inputs == ("photo", "age"):
        assert verify_bundle(write_bundle(tmp_path / "b", manifest, files).path) == []
    else:
        with pytest.raises(InputError, match=r"samples\.json: the list of columns"):
            write_bundle(tmp_path / "b", manifest, files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outputs": (Output("probabilities", "float32", (3,)),)}, r"'probabilities' \(float32, shape \[3\]\)"),
        ({"outputs": (Output("probabilities", "str", (2,)),)}, "'probabilities'"),
        ({"outputs": (Output("value", "float32"),)}, "'value'"),
        ({"labels": ("yes", "no")}, "positive class"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_not_written(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        write_bundle(tmp_path / "b", dataclasses.replace(BINARY, **change), {"model.onnx": b"graph"})


def test_the_labels_of_a_text_model_are_those_of_its_config(tmp_path: Path) -> None:
    manifest = dataclasses.replace(
        BINARY, task="sequence-classification", threshold=None, inputs=(Input("text", "text", "str"),),
        engines=(), lineage=Lineage(),
    )  # fmt: skip
    config = {"config.json": b'{"id2label": {"0": "no", "1": "yes"}}'}
    assert verify_bundle(write_bundle(tmp_path / "b", manifest, config).path) == []
    with pytest.raises(InputError, match=r"config\.json: id2label"):
        write_bundle(tmp_path / "c", dataclasses.replace(manifest, labels=("yes", "no")), config)
