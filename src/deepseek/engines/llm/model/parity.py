"""What a lossy conversion costs, measured on text, and the gate that refuses it.

parity = measure_parity(ModelFolder.read(source), converted, ids) check_parity(parity, max_loss=0.02)
cached_parity(source_path, converted, limits)          # on built-in text, measured once and kept beside the converted
model
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32
from deepseek.engines.llm.model.convert import read_precision
from deepseek.engines.llm.model.folder import ModelFolder, read_json
from deepseek.engines.llm.model.graph import build_decoder
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.llm.model.plugin import plugin_properties
from deepseek.engines.llm.model.tokenizer import LlmTokenizer
from deepseek.engines.measuring import describe_machine
from deepseek.engines.openvino import openvino_core
from deepseek.engines.text.serve.calibrate import SAMPLE_TEXTS
from deepseek.errors import CheckError, InputError

WINDOW_TOKENS = 256  # tokens that are read at a time
MAX_SOURCE_BYTES = 4 << 30  # of weights: larger models are not read twice just to say what a precision costs


@dataclass(frozen=True, slots=True)
class Parity:
    """How a converted model reads a text, and how the weights as they were saved do."""

    exact_loss: float  # nats a token, of the weights as they were saved
    loss: float  # of the converted folder, computed as it is served
    agreement: float  # share of positions where both find the same token the most likely
    num_tokens: int


def measure_parity(
    source: ModelFolder, converted: Path, ids: Sequence[int], limits: EngineLimits | None = None
) -> Parity:
    """Read two or more tokens with both models. InputError for fewer tokens."""
    if len(ids) < 2:
        raise InputError(f"there are {len(ids)} tokens to compare on", expected="2 or more", fix="give a longer text")
    limits = limits or EngineLimits()
    exact = EngineLimits(num_threads=limits.num_threads, exact=True)
    tokens, size = np.array(ids, np.int64), min(WINDOW_TOKENS, source.config.max_positions)
    exact_model = build_decoder(source.config, source.weights, quantized=False)
    converted_model = str(converted / "openvino_model.xml")
    readings = []
    for model, properties in (
        (exact_model, plugin_properties(source.config, "fp32", exact)),
        (converted_model, plugin_properties(source.config, read_precision(converted), limits)),
    ):
        request = openvino_core(extra="llm").compile_model(model, "CPU", properties).create_infer_request()
        windows = [_read_losses(request, tokens[start : start + size]) for start in range(0, len(tokens) - 1, size - 1)]
        readings.append([np.concatenate(part) for part in zip(*windows, strict=True)])
    (exact_losses, exact_best), (losses, best) = readings
    return Parity(
        exact_loss=float(exact_losses.mean()),
        loss=float(losses.mean()),
        agreement=float((exact_best == best).mean()),
        num_tokens=len(losses),
    )


def cached_parity(source: Path, converted: Path, limits: EngineLimits) -> Parity | None:
    """What the precision costs on built-in sentences of several kinds and languages, measured once and kept in a file
    beside the converted model. None for a model that is too large to be read in float32 beside itself."""
    if sum(path.stat().st_size for path in source.glob("*.safetensors")) > MAX_SOURCE_BYTES:
        return None
    path = converted / f"parity-{limits.arithmetic}.json"
    if path.is_file():
        fields = read_json(path)
        if fields.pop("machine", None) == describe_machine():
            return Parity(**fields)
    folder = ModelFolder.read(source)
    ids = LlmTokenizer.open(source, folder.config.vocab_size).encode("\n".join(SAMPLE_TEXTS), max_tokens=1 << 12)
    parity = measure_parity(folder, converted, ids, limits)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(asdict(parity) | {"machine": describe_machine()}), "utf-8")
    unfinished.replace(path)
    return parity


def check_parity(parity: Parity, max_loss: float) -> None:
    """CheckError when the conversion costs more than `max_loss` nats a token."""
    cost = parity.loss - parity.exact_loss
    if not cost <= max_loss:
        raise CheckError(
            f"the converted model costs {cost:.4f} nats a token ({parity.agreement:.1%} of the tokens agree)",
            expected=f"at most {max_loss:g}",
            fix="serve it with precision fp32, or allow a larger loss",
        )


def _read_losses(request: Any, ids: NDArray[np.int64]) -> tuple[Float32, NDArray[np.int64]]:
    """The loss of each token but the first, and the most likely token at its position, each (S - 1,)."""
    request.reset_state()
    row = ids[None]  # (1, S)
    feed = {
        "input_ids": row,
        "attention_mask": np.ones_like(row),
        "position_ids": np.arange(row.shape[1])[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    logits: Float32 = request.infer(feed)["logits"][0, :-1].astype(np.float32)  # (S - 1, V)
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(ids) - 1), ids[1:]]
    return losses, logits.argmax(axis=1)
