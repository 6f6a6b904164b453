"""A small bundle, whole and valid, whose files are written by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from deepseek.bundle import Bundle, EngineEntry, Input, Lineage, Manifest, Output, write_bundle


def tensors(header: dict[str, object], body: bytes, pad_to: int = 0) -> bytes:
    """A safetensors file: length, header, bytes."""
    text = json.dumps(header).encode().ljust(pad_to)
    return struct.pack("<Q", len(text)) + text + body


@pytest.fixture(scope="session")
def make_tensors() -> Callable[..., bytes]:
    return tensors


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    weights = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    return {
        "preprocess.json": b'{"columns": ["age"]}\n',
        "model.json": b'{"parts": []}\n',
        "weights/part-0.safetensors": tensors(weights, bytes(range(16))),
        "model.onnx": b"\x08\x0a\x12\x08deepseek",
        "decision.json": b'{"threshold": 0.25}\n',
        "evidence/metrics.json": b'{"metrics": {"auc": {"value": 0.9, "low": 0.8, "high": 0.95}}, "baseline": {}}\n',
    }


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return Manifest(
        name="loans",
        version="1",
        created="2026-01-31T12:00:00+00:00",
        task="binary",
        target="default",
        inputs=(Input("age", "numeric", "float64"), Input("收入", "numeric", "float64", required=False)),
        outputs=(Output("probabilities", "float32", (2,)),),
        labels=("no", "yes"),
        threshold=0.25,
        engines=(EngineEntry("onnxruntime", "model.onnx", 1e-7, num_rows=500),),
        lineage=Lineage(data="ab" * 32, config={"budget_s": 120.0}, seed=7, versions={"deepseek": "0.1.0"}),
    )


@pytest.fixture
def bundle(tmp_path: Path, manifest: Manifest, files: dict[str, bytes]) -> Bundle:
    return write_bundle(tmp_path / "loans", manifest, files)
