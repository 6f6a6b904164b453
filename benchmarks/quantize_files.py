"""What a file of 8-bit floats saves, and what opening it costs: for compression_quantize.py.

    claims = size_claims(teacher("sst2")) + load_claims(teacher("sst2"))

Whole files on the disk: a folder written in float32 by transformers and packed by us, and one in the shapes of
BERT-base.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from result import claim

from deepseek.compress.quantize import pack
from deepseek.engines.text import TextEngine
from deepseek.engines.text.source.weights import Weights

BERT_BASE = {"hidden": 768, "layers": 12, "wide": 3072, "vocab": 30_522, "positions": 512}


def size_claims(source: Path) -> list[dict[str, Any]]:
    """Whole files: float32 over 8-bit floats."""
    claims = []
    with tempfile.TemporaryDirectory() as place:
        for name, folder, bar in (
            ("minilm", source, 3.9),
            ("bert_base", bert_base(Path(place) / "base"), 3.95),
        ):
            before = (folder / "model.safetensors").stat().st_size
            after = pack(folder, Path(place) / name).size_bytes
            claims.append(
                claim(
                    f"fp8_size_{name}", ours=after / 1e6, rival=before / 1e6, rival_name="float32 safetensors",
                    ratio=before / after, unit="MB", op=">=", bar=bar, note="model.safetensors whole, scales included",
                )
            )  # fmt: skip
    return claims


def bert_base(folder: Path) -> Path:
    """Random weights in the shapes of BERT-base, without a head."""
    import safetensors.torch

    draw = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=draw) * 0.04 for name, shape in bert_base_shapes().items()}
    folder.mkdir()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    return folder


def bert_base_shapes() -> dict[str, tuple[int, ...]]:
    """As transformers names and shapes them."""
    hidden, wide = BERT_BASE["hidden"], BERT_BASE["wide"]
    tables = {"word": BERT_BASE["vocab"], "position": BERT_BASE["positions"], "token_type": 2}
    dense, norms = {"pooler.dense": (hidden, hidden)}, ["embeddings.LayerNorm"]
    for index in range(BERT_BASE["layers"]):
        layer = f"encoder.layer.{index}"
        dense |= {f"{layer}.attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        dense |= {f"{layer}.attention.output.dense": (hidden, hidden)}
        dense |= {f"{layer}.intermediate.dense": (wide, hidden), f"{layer}.output.dense": (hidden, wide)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"embeddings.{name}_embeddings.weight": (num, hidden) for name, num in tables.items()}
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return shapes


def load_claims(source: Path, rounds: int = 7) -> list[dict[str, Any]]:
    """CPU seconds until every tensor is a float32 array of its own."""
    with tempfile.TemporaryDirectory() as place:
        packed = pack(source, Path(place) / "small").out
        took: dict[Path, list[float]] = {source: [], packed: []}
        for _ in range(rounds):
            for folder, seconds in took.items():
                start_s = time.process_time()
                weights = Weights.open(folder)
                for name in weights.names:
                    if weights.is_float(name) and not name.endswith("_scale"):
                        np.array(weights.array(name, weights.shape(name)))
                seconds.append(time.process_time() - start_s)
        ours, rival = median(took[packed]) * 1e3, median(took[source]) * 1e3
        opened = {folder: open_ms(folder) for folder in (source, packed)}
    note = (
        f"all tensors of MiniLM as float32 arrays, files in the page cache; TextEngine.open {opened[packed]:.0f} "
        f"against {opened[source]:.0f} ms of CPU. In memory both are float32."
    )
    return [
        claim(
            "fp8_load",
            ours=ours,
            rival=rival,
            rival_name="float32 safetensors",
            ratio=ours / rival,
            unit="ms CPU",
            note=note,
        )
    ]


def open_ms(folder: Path, rounds: int = 3) -> float:
    times_ms = []
    for _ in range(rounds):
        start_s = time.process_time()
        TextEngine.open(folder).close()
        times_ms.append((time.process_time() - start_s) * 1e3)
    return median(times_ms)
