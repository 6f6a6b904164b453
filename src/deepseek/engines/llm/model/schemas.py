"""JSON schemas from outside: bounded first, then tried on a grammar compiler that may fail without harm.

    text = schema_text({"type": "object", "properties": {"name": {"type": "string"}}})     # in any process
    SchemaCompiler(folder).compile(text)                                                         # in a sandbox

OpenVINO GenAI compiles a grammar in the middle of a step of all requests and has no other place where a schema is
looked at; one that it refuses there would end every answer in the batch, and one that takes long would hold them up.
So each is compiled once before, with the vocabulary of the model, where it may be given up.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.engines.llm.model.folder import DecoderConfig, ModelFolder
from deepseek.engines.llm.model.graph import build_decoder
from deepseek.engines.openvino import keep_signal_stack
from deepseek.errors import MalformedError
from deepseek.extras import need

MAX_SCHEMA_BYTES = 16 << 10
MAX_SCHEMA_DEPTH = 16
#: Of minItems, maxLength and the like, all together: a grammar grows with them, and all answers wait while it is
#: compiled for the model's vocabulary (GPT-2's 50,257 tokens: seconds for several thousand).
MAX_TOTAL_COUNT = 512
_COUNT_KEYS = frozenset(["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"])
#: What the compiler does not know or does not keep.
_REFUSED_KEYS = frozenset(
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
_NAMED_KEYS = frozenset(["properties", "$defs", "definitions"])
_VALUE_KEYS = frozenset(["enum", "const", "default", "examples"])
_FIX = "use type, properties, required, items, enum, const, anyOf, $defs and $ref, and smaller limits"
_TINY_CONFIG = DecoderConfig(
    family="gpt2", num_layers=1, num_heads=1, num_kv_heads=1, head_size=8, width=8, inner_width=8, vocab_size=257,
    max_positions=32, norm_epsilon=1e-5, rope_theta=0.0, rope_scaling=None, tied=True, attention_bias=True,
)  # fmt: skip


class SchemaCompiler:
    """Compiles schemas as the engine of a folder will: with its vocabulary, on a decoder of one tiny layer. It may take
    long, or crash, which is why it runs in a sandbox; see sandbox.py."""

    def __init__(self, folder: Path) -> None:
        source = ModelFolder.read(folder, with_weights=False)
        self._genai, self._openvino = need("openvino_genai", extra="llm"), need("openvino", extra="llm")
        self._end_ids = source.end_ids
        with keep_signal_stack():
            self._pipeline = _tiny_pipeline(self._genai, self._openvino, folder, source.config.vocab_size)

    def compile(self, text: str) -> str:
        """The same text of schema_text(), when the schema compiles. MalformedError for one that is not understood or is
        contradictory."""
        config = self._genai.GenerationConfig(max_new_tokens=1, do_sample=False)
        config.ignore_eos = not self._end_ids
        if self._end_ids:
            config.stop_token_ids = set(self._end_ids)
            config.set_eos_token_id(self._end_ids[0])
        config.structured_output_config = self._genai.StructuredOutputConfig(json_schema=text)
        handle = self._pipeline.add_request(0, self._openvino.Tensor(np.array([[0]], np.int64)), config)
        try:
            self._pipeline.step()
        except RuntimeError as error:
            raise _schema_error(str(error).strip().rsplit("cc:", 1)[-1].strip("0123456789: \n")[:300], _FIX) from None
        finally:
            handle.cancel()
            self._pipeline.step()
        return text


def schema_text(schema: Mapping[str, object]) -> str:
    """A schema as JSON text. MalformedError for one that is too large or holds what would not be kept; takes no longer
    than a schema of MAX_SCHEMA_BYTES takes, however large this one is."""
    budget = _SchemaBudget()
    budget.spend(schema, 0)
    _check_references(schema, budget.references)
    text = json.dumps(schema)
    if len(text) > MAX_SCHEMA_BYTES:
        raise _schema_error(f"it has {len(text)} bytes", f"at most {MAX_SCHEMA_BYTES}")
    return text


@dataclass(slots=True)
class _SchemaBudget:
    """The size of one schema, as far as it was read."""

    num_bytes: int = 0
    counts: int = 0  # the sum of minItems, maxLength and the like
    references: set[str] = field(default_factory=set)

    def spend(self, schema: Any, depth: int) -> None:
        """Add a part of the schema. MalformedError at the first thing that is too much."""
        if depth > MAX_SCHEMA_DEPTH:
            raise _schema_error("it is nested too deeply", f"at most {MAX_SCHEMA_DEPTH} levels")
        self._spend_bytes(len(schema) if isinstance(schema, str) else 1)
        if isinstance(schema, list):
            for item in schema:
                self.spend(item, depth + 1)
        elif isinstance(schema, dict):
            for key, value in schema.items():
                self._spend_bytes(len(key))
                self._spend_keyword(key, value, depth)

    def _spend_keyword(self, key: str, value: Any, depth: int) -> None:
        if key in _REFUSED_KEYS or (key == "$ref" and isinstance(value, str) and not value.startswith("#")):
            raise _schema_error(f"it uses {key}", "a schema without it, and references within itself only")
        if key == "$ref" and isinstance(value, str):
            self.references.add(value)
        if key in _COUNT_KEYS:
            if type(value) is not int or not 0 <= value <= MAX_TOTAL_COUNT:
                raise _schema_error(f"{key} is {str(value)[:50]}", f"0 to {MAX_TOTAL_COUNT}")
            self.counts += value
            if self.counts > MAX_TOTAL_COUNT:
                raise _schema_error(f"its counts add up to {self.counts}", f"at most {MAX_TOTAL_COUNT} together")
        elif key in _NAMED_KEYS and isinstance(value, dict):
            for name, part in value.items():  # its keys are names, not words of a schema
                self._spend_bytes(len(name))
                self.spend(part, depth + 1)
        elif key in _VALUE_KEYS:
            self._spend_value(value, depth + 1)
        else:
            self.spend(value, depth + 1)

    def _spend_value(self, value: Any, depth: int) -> None:
        """Add JSON that a schema names, which is no schema itself."""
        if depth > MAX_SCHEMA_DEPTH:
            raise _schema_error("it is nested too deeply", f"at most {MAX_SCHEMA_DEPTH} levels")
        self._spend_bytes(len(value) if isinstance(value, str) else 1)
        if isinstance(value, dict):
            self._spend_bytes(sum(map(len, value)))
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for part in parts:
            self._spend_value(part, depth + 1)

    def _spend_bytes(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        if self.num_bytes > MAX_SCHEMA_BYTES:
            raise _schema_error(f"it has more than {MAX_SCHEMA_BYTES} bytes", f"at most {MAX_SCHEMA_BYTES}")


def _check_references(schema: Mapping[str, object], references: set[str]) -> None:
    """MalformedError for a reference that leads back to itself with nothing between: the compiler takes it, and then
    restricts answers to nothing."""
    steps = {reference: set(_alias_references(_resolve_reference(schema, reference))) for reference in references}
    try:
        TopologicalSorter(steps).prepare()
    except CycleError as error:
        raise _schema_error(
            f"{str(error.args[1][0])[:100]} refers to itself alone", "a reference to something"
        ) from None


def _alias_references(schema: Any) -> Iterator[str]:
    """The references that stand for a schema itself, or for one of its alternatives."""
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    for key in ("anyOf", "oneOf"):
        for part in schema[key] if isinstance(schema.get(key), list) else ():
            yield from _alias_references(part)


def _resolve_reference(schema: Any, reference: str) -> Any:
    """The part that a reference such as "#/$defs/a" leads to; None when it leads nowhere, which the compiler
    reports."""
    for name in reference.removeprefix("#").split("/")[1:]:
        schema = schema.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(schema, dict) else None
    return schema


def _schema_error(problem: str, expected: str) -> MalformedError:
    return MalformedError(f"the JSON schema cannot be used: {problem}", expected=expected, fix=_FIX)


class _ZeroWeights:
    """Weights that are all zero."""

    def __contains__(self, name: str) -> bool:
        return False

    def take(self, name: str, shape: tuple[int, ...]) -> Float32:
        return np.zeros(shape, np.float32)


def _tiny_pipeline(genai: Any, openvino: Any, folder: Path, vocab_size: int) -> Any:
    with tempfile.TemporaryDirectory(prefix="deepseek-") as name:
        model = build_decoder(replace(_TINY_CONFIG, vocab_size=vocab_size), _ZeroWeights(), quantized=False)
        openvino.save_model(model, str(Path(name) / "openvino_model.xml"))
        (Path(name) / "config.json").write_text('{"model_type": "gpt2"}')
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 4
        tokenizer = genai.Tokenizer(str(folder))
        return genai.ContinuousBatchingPipeline(name, tokenizer, scheduler, "CPU", INFERENCE_NUM_THREADS=1)
