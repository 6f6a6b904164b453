"""JSON schemas from outside: bounded first, then tried on a grammar compiler that may fail without harm.

    text = Schemas().check({"type": "object", "properties": {"name": {"type": "string"}}})

OpenVINO GenAI compiles a grammar in the middle of a step of all requests and has no other place where a schema is
looked at; one that it refuses there would end every answer in the batch. So each is compiled once before, for a
decoder of one tiny layer that speaks bytes.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.llm.convert import byte_characters, detokenizer
from deepseek.engines.llm.folder import DecoderConfig
from deepseek.engines.llm.graph import build
from deepseek.engines.openvino import signal_stack
from deepseek.errors import InputError
from deepseek.extras import need

MAX_BYTES = 16 << 10
MAX_DEPTH = 16
#: Of minItems, maxLength and the like, all together: a grammar grows with them, and all answers wait while it is
#: compiled for the model's vocabulary (GPT-2's 50,257 tokens: seconds for several thousand).
MAX_COUNT = 512
_COUNTS = frozenset(["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"])
#: What the compiler does not know or does not keep.
_REFUSED = frozenset(
    [
        "pattern",
        "patternProperties",
        "propertyNames",
        "not",
        "if",
        "dependentSchemas",
        "allOf",
        "multipleOf",
        "uniqueItems",
        "contains",
        "dependentRequired",
    ]
)
_NAMED = frozenset(["properties", "$defs", "definitions"])
_VALUES = frozenset(["enum", "const", "default", "examples"])
_FIX = "use type, properties, required, items, enum, const, anyOf, $defs and $ref, and smaller limits"
_TINY = DecoderConfig(
    family="gpt2", num_layers=1, num_heads=1, num_kv_heads=1, head_size=8, width=8, inner_width=8, vocab_size=257,
    max_positions=32, norm_epsilon=1e-5, rope_theta=0.0, rope_scaling=None, tied=True, attention_bias=True,
)  # fmt: skip


class Schemas:
    """Checks schemas. Safe to share between threads; the compiler is opened when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipeline: Any = None
        self._known: dict[str, None] = {}  # schemas that were found good, the last ones

    def check(self, schema: Mapping[str, Any]) -> str:
        """The schema as JSON text. InputError for one that is too large, not understood or contradictory."""
        check_size(schema)
        try:
            text = json.dumps(schema)
        except RecursionError:
            raise _wrong("it is nested too deeply", f"at most {MAX_DEPTH} levels") from None
        if len(text) > MAX_BYTES:
            raise _wrong(f"it has {len(text)} bytes", f"at most {MAX_BYTES}")
        with self._lock:
            if text not in self._known:
                self._compile(text)
                self._known[text] = None
                if len(self._known) > 256:
                    self._known.pop(next(iter(self._known)))
        return text

    def _compile(self, text: str) -> None:
        genai = need("openvino_genai", extra="llm")
        openvino = need("openvino", extra="llm")
        self._pipeline = self._pipeline or _tiny_pipeline()
        config = genai.GenerationConfig(max_new_tokens=1, do_sample=False)
        config.set_eos_token_id(256)
        config.structured_output_config = genai.StructuredOutputConfig(json_schema=text)
        handle = self._pipeline.add_request(0, openvino.Tensor(np.array([[0]], np.int64)), config)
        try:
            self._pipeline.step()
        except RuntimeError as error:
            raise _wrong(str(error).strip().rsplit("cc:", 1)[-1].strip("0123456789: \n")[:300], _FIX) from None
        finally:
            handle.cancel()
            self._pipeline.step()


def check_size(schema: Any, depth: int = 0) -> int:
    """The sum of its counts. InputError for a schema that is nested without end, counts too high, or holds what would
    not be kept."""
    if depth > MAX_DEPTH:
        raise _wrong("it is nested too deeply", f"at most {MAX_DEPTH} levels")
    if isinstance(schema, list):
        return sum(check_size(item, depth + 1) for item in schema)
    if not isinstance(schema, dict):
        return 0
    total = 0
    for key, value in schema.items():
        if key in _REFUSED or (key == "$ref" and isinstance(value, str) and not value.startswith("#")):
            raise _wrong(f"it uses {key}", "a schema without it, and references within itself only")
        if key in _COUNTS:
            if type(value) is not int or not 0 <= value <= MAX_COUNT:
                raise _wrong(f"{key} is {str(value)[:50]}", f"0 to {MAX_COUNT}")
            total += value
        elif key in _NAMED and isinstance(value, dict):
            total += check_size(list(value.values()), depth)  # its keys are names, not words of a schema
        elif key not in _VALUES:
            total += check_size(value, depth + 1)
    if total > MAX_COUNT:
        raise _wrong(f"its counts add up to {total}", f"at most {MAX_COUNT} together")
    return total


def _wrong(what: str, expected: str) -> InputError:
    return InputError(f"the JSON schema cannot be used: {what}", expected=expected, fix=_FIX)


class _Zeros:
    """Weights that are all nought."""

    def __contains__(self, name: str) -> bool:
        return False

    def take(self, name: str, shape: tuple[int, ...]) -> Float32:
        return np.zeros(shape, np.float32)


def _tiny_pipeline() -> Any:
    genai, openvino = need("openvino_genai", extra="llm"), need("openvino", extra="llm")
    with tempfile.TemporaryDirectory(prefix="deepseek-") as name:
        folder = Path(name)
        openvino.save_model(build(_TINY, _Zeros(), quantized=False), str(folder / "openvino_model.xml"))
        pieces = [*(bytes([byte]) for byte in sorted(byte_characters().values())), b""]
        openvino.save_model(detokenizer(pieces), str(folder / "openvino_detokenizer.xml"))
        (folder / "config.json").write_text('{"model_type": "gpt2", "eos_token_id": 256}')
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 4
        with signal_stack():
            tokenizer = genai.Tokenizer(name)
            return genai.ContinuousBatchingPipeline(name, tokenizer, scheduler, "CPU", INFERENCE_NUM_THREADS=1)
