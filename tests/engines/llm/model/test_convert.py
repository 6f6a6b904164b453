"""A Hugging Face folder becomes one that OpenVINO GenAI runs, with the answers of transformers, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai
import pytest
import torch
from tokenizers import Tokenizer

from deepseek.engines.llm.model.convert import byte_characters, convert, token_bytes
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.openvino import keep_signal_stack
from deepseek.errors import InputError
from support.nets.tinylm import TEXT, random_model

PROMPT = [20, 21, 22, 23, 24]


def generate(folder: Path) -> list[int]:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = 8
    exact = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": 1}
    with keep_signal_stack():
        pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(folder), openvino_genai.Tokenizer(str(folder)), scheduler, "CPU", **exact
        )
    config = openvino_genai.GenerationConfig(max_new_tokens=12, do_sample=False, ignore_eos=True)
    (generation,) = pipeline.generate([openvino.Tensor(np.array([PROMPT]))], [config])
    return list(generation.m_generation_ids[0])


def greedy(model: Any) -> list[int]:
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        for _ in range(12):
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_paged_attention_writes_what_transformers_writes(tmp_path: Path, family: str) -> None:
    model = random_model(family, tmp_path / "source")
    convert(ModelFolder.read(tmp_path / "source"), tmp_path / "target")
    assert generate(tmp_path / "target") == greedy(model)


def test_int8_is_a_fourth_of_the_size_and_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    random_model("gpt2", tmp_path / "source")
    source, target = ModelFolder.read(tmp_path / "source"), tmp_path / "target"
    convert(source, target)
    whole = (target / "openvino_model.bin").stat().st_size
    convert(source, target, precision="int8")
    assert (target / "openvino_model.bin").stat().st_size < 0.5 * whole  # norms, biases and positions stay as they are
    assert len(generate(target)) == 12
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_conversion_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    random_model("gpt2", tmp_path / "source")
    code = (
        "import sys; from pathlib import Path\n"
        "from deepseek.engines.llm.model.convert import convert; "
        "from deepseek.engines.llm.model.folder import ModelFolder\n"
        f"convert(ModelFolder.read(Path({str(tmp_path / 'source')!r})), Path({str(tmp_path / 'target')!r}))\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_bytes_of_tokens_are_those_that_tokenizers_writes(tmp_path: Path) -> None:
    random_model("gpt2", tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pieces = token_bytes(json.loads((tmp_path / "tokenizer.json").read_text("utf-8")), 300)
    assert b"".join(pieces[index] for index in tokenizer.encode(TEXT).ids) == TEXT.encode()
    assert sorted(byte_characters().values()) == list(range(256))


def test_pieces_of_sentencepiece_are_read() -> None:
    tokenizer = {"model": {"type": "BPE", "vocab": {"\u2581the": 0, "<0x0A>": 1, "<0xZZ>": 2}}, "decoder": None}
    assert token_bytes(tokenizer, 4) == [b" the", b"\n", b"<0xZZ>", b""]


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        {"model": {"type": "WordPiece", "vocab": {}}},
        {"model": {"type": "BPE", "vocab": {"a": 9}}},
        {"model": {"type": "BPE", "vocab": {"a": "0"}}},
        {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"content": "b"}]},
        {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": 2}]},
        {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": 3},
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused(tokenizer: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        token_bytes(tokenizer, 2)


def test_a_precision_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    random_model("gpt2", tmp_path / "source")
    with pytest.raises(InputError, match="fp32 or int8"):
        convert(ModelFolder.read(tmp_path / "source"), tmp_path / "target", precision="int3")  # type: ignore[arg-type]
