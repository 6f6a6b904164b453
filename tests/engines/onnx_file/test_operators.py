"""Operators in machine code: carried by a bundle, signed, and loaded for nobody who has not asked for them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from deepseek.bundle import Input, Manifest, Output, now, write_bundle
from deepseek.bundle.sign import generate_keys
from deepseek.cli.support.opening_plain import open_plain
from deepseek.engines.convert.bundle import ConvertOptions, convert_model
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.onnx_file.engine import GraphEngines
from deepseek.engines.onnx_file.operators import (
    OperatorLibrary,
    OperatorsFile,
    open_operators,
    operator_files,
    platform_name,
)
from deepseek.engines.onnx_file.signature import Signature, TensorSpec
from deepseek.errors import DeepseekError, InputError, IntegrityError

DOMAIN, NAME = "org.example", "Gate"
NO_LIBRARY = b"\x7fELF and no library"


def graph_bytes(*, defines_it: bool = False) -> bytes:
    """A graph of one operator of another domain; with its own definition it doubles its input."""
    make = onnx.helper
    node = make.make_node(NAME, ["x"], ["y"], domain=DOMAIN)
    ends = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3]) for name in ("x", "y")]
    opsets = [make.make_opsetid("", 17), make.make_opsetid(DOMAIN, 1)]
    functions = []
    if defines_it:
        functions.append(
            make.make_function(DOMAIN, NAME, ["a"], ["b"], [make.make_node("Add", ["a", "a"], ["b"])], opsets[:1])
        )
    graph = make.make_graph([node], "g", ends[:1], ends[1:])
    return make.make_model(graph, functions=functions, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public, _ = generate_keys(tmp_path / "release-key")
    return private, public


def bundle_of(tmp_path: Path, key: Path | None, *, name: str = "bundle", **changes: Any) -> Path:
    """A bundle that brings NO_LIBRARY, or what `changes` of operators.json say."""
    (tmp_path / "gate.so").write_bytes(NO_LIBRARY)
    (tmp_path / "model.onnx").write_bytes(graph_bytes())
    library = OperatorLibrary.read(tmp_path / "gate.so")
    files = operator_files(library, frozenset([(DOMAIN, NAME)]), are_defined=False)
    entry = json.loads(files["operators.json"]) | changes
    manifest = Manifest(
        name="gate", version="1", created=now(), task="tensors", target="y",
        inputs=(Input("x", "tensor", "float32", (3,)),), outputs=(Output("y", "float32", (3,)),),
    )  # fmt: skip
    files |= {"model.onnx": graph_bytes(), "operators.json": json.dumps(entry).encode()}
    return write_bundle(tmp_path / name, manifest, files, key=key).path


def test_machine_code_is_refused_unasked_from_strangers_and_from_nobody(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    signed, unsigned = bundle_of(tmp_path, keys[0]), bundle_of(tmp_path, None, name="unsigned")
    for path in (signed, unsigned):
        with pytest.raises(InputError, match=r"brings machine code, for org\.example\.Gate") as refusal:
            open_plain(path, None)
        assert "--allow-operators" in refusal.value.fix
    with pytest.raises(InputError, match="brings machine code"):
        open_plain(signed, keys[1])  # a key of a bundle is not yet one of whom code is taken from
    _, stranger, _ = generate_keys(tmp_path / "stranger")
    with pytest.raises(IntegrityError, match="is by another key"):
        open_plain(signed, None, stranger)
    with pytest.raises(IntegrityError, match="is not signed"):
        open_plain(unsigned, None, keys[1])


def test_a_library_that_is_none_is_named_and_takes_no_server_with_it(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    library = open_operators(bundle_of(tmp_path, keys[0]), keys[1])
    assert library is not None
    assert library.operators == {(DOMAIN, NAME)}
    onnxruntime = pytest.importorskip("onnxruntime")
    with pytest.raises(IntegrityError, match="cannot be loaded: "):
        library.register(onnxruntime.SessionOptions())


def test_a_library_that_was_changed_since_it_was_opened_is_not_loaded(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    library = open_operators(bundle_of(tmp_path, keys[0]), keys[1])
    assert library is not None
    other = tmp_path / "other.so"
    other.write_bytes(b"another")
    with pytest.raises(IntegrityError, match="no longer the library that was opened"):
        replace(library, path=other).register(None)


def test_a_copy_in_the_cache_that_was_changed_is_written_anew(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = bundle_of(tmp_path, keys[0])
    library = open_operators(path, keys[1])
    assert library is not None
    library.path.chmod(0o700)
    library.path.write_bytes(b"evil")
    again = open_operators(path, keys[1])
    assert again == library
    assert library.path.read_bytes() == NO_LIBRARY


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"platform": "plan9-vax"}, "were built for plan9-vax"),
        ({"file": "model.onnx"}, r"operators\.json names 'model\.onnx'"),
        ({"file": "operators/absent.so"}, r"operators\.json names 'operators/absent\.so'"),
        ({"operators": []}, "names the operators"),
        ({"operators": ["Gate"]}, "names the operators"),
        ({"runtime": "openvino"}, "runtime"),
        ({"format": 2}, "format"),
        ({"more": 1}, "more"),
    ],
)
def test_what_operators_json_says_is_checked(
    changes: dict[str, Any], words: str, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(DeepseekError, match=words):
        open_operators(bundle_of(tmp_path, keys[0], **changes), keys[1])


def test_a_graph_takes_no_other_operators_from_a_library(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_bytes())
    named = OperatorLibrary(path, "", frozenset([(DOMAIN, "Other")]))
    for library in (None, named):
        with pytest.raises(InputError, match=r"not of the standard: org\.example\.Gate.*--operators"):
            examine_file(path, library)
    assert examine_file(path, replace(named, operators=None)).custom_operators == {(DOMAIN, NAME)}


def test_a_spec_without_a_library_is_not_computed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_bytes())
    digest = examine_file(path, OperatorLibrary(path, "", None)).digest
    signature = Signature((TensorSpec("x", "float32", (None, 3)),), (TensorSpec("y", "float32", (None, 3)),))
    spec: Any = {"path": str(path), "digest": digest, "signature": signature.to_dict(), "engines": [], "tried": {}}
    with pytest.raises(InputError, match="not of the standard"):
        GraphEngines.open(spec)


@pytest.mark.parametrize(("is_custom", "words"), [(True, "signed by nobody"), (False, "takes no operators from gate")])
def test_a_bundle_with_a_library_is_signed_and_needs_it(is_custom: bool, words: str, tmp_path: Path) -> None:
    source, rows = tmp_path / "model.onnx", tmp_path / "rows.npz"
    source.write_bytes(graph_bytes() if is_custom else standard_graph())
    (tmp_path / "gate.so").write_bytes(NO_LIBRARY)
    rows.write_bytes(b"")
    with pytest.raises(InputError, match=words):
        convert_model(source, rows, tmp_path / "out", ConvertOptions(operators=tmp_path / "gate.so"))
    assert not (tmp_path / "out").exists()


def standard_graph() -> bytes:
    make = onnx.helper
    ends = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3]) for name in ("x", "y")]
    graph = make.make_graph([make.make_node("Neg", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=10).SerializeToString()


def test_what_a_library_is_held_to_is_written_down(tmp_path: Path) -> None:
    library_path, graph = tmp_path / "gate.so", tmp_path / "model.onnx"
    library_path.write_bytes(NO_LIBRARY)
    library = OperatorLibrary.read(library_path)
    for defines_it, held_to in ((True, "their definitions in the graph"), (False, "themselves")):
        graph.write_bytes(graph_bytes(defines_it=defines_it))
        contents = examine_file(graph, library)
        files = operator_files(library, contents.custom_operators, are_defined=contents.defines_all)
        entry = OperatorsFile(**json.loads(files["operators.json"]) | {"operators": ("org.example.Gate",)})
        assert (entry.held_to, entry.platform) == (held_to, platform_name())
        assert files[entry.file] == NO_LIBRARY
