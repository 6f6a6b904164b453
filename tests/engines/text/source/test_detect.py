"""describe(): what stands at a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.engines.text import ModelDescription, describe
from deepseek.errors import InputError, IntegrityError, MissingError
from support.nets.textfolders import write_json


def folder_with(folder: Path, name: str, value: object) -> Path:
    folder.mkdir()
    write_json(folder, name, value)
    return folder


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"model_type": "bert", "architectures": ["BertModel"]},
            ModelDescription("text", "BertModel", "embedding"),
        ),
        ({"model_type": "distilbert"}, ModelDescription("text", "distilbert", "embedding")),
        (
            {"model_type": "xlm-roberta", "architectures": ["XLMRobertaForTokenClassification"]},
            ModelDescription("text", "XLMRobertaForTokenClassification", "token-classification"),
        ),
        (
            {"model_type": "roberta", "architectures": ["RobertaForSequenceClassification"]},
            ModelDescription("text", "RobertaForSequenceClassification", "sequence-classification"),
        ),
        (
            {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
            ModelDescription("causal-lm", "GPT2LMHeadModel"),
        ),
        (
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
            ModelDescription("causal-lm", "LlamaForCausalLM"),
        ),
    ],
)
def test_a_hugging_face_folder_is_known_by_its_config(
    tmp_path: Path, config: dict[str, object], expected: ModelDescription
) -> None:
    assert describe(folder_with(tmp_path / "model", "config.json", config)) == expected


def test_bundles_and_files_are_known(tmp_path: Path) -> None:
    assert describe(folder_with(tmp_path / "bundle", "bundle.json", {})).kind == "bundle"
    for name, kind in (("a.onnx", "onnx"), ("b.ubj", "xgboost"), ("c.json", "xgboost")):
        (tmp_path / name).touch()
        assert describe(tmp_path / name).kind == kind


@pytest.mark.parametrize(
    ("config", "can_be_converted"),
    [
        ({"model_type": "deberta-v2", "architectures": ["DebertaV2ForSequenceClassification"]}, True),
        ({"model_type": "modernbert"}, True),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, False),
        ({"model_type": "t5", "architectures": ["T5Model"], "is_encoder_decoder": True}, False),
        ({"model_type": "electra", "architectures": ["ElectraForQuestionAnswering"]}, False),
        ({}, False),
    ],
)
def test_another_architecture_is_refused_by_name(
    tmp_path: Path, config: dict[str, object], can_be_converted: bool
) -> None:
    with pytest.raises(InputError, match=r"Deberta|modernbert|T5|Electra|without a name") as raised:
        describe(folder_with(tmp_path / "model", "config.json", config))
    assert ("`deepseek convert HF_FOLDER --out DIR`" in raised.value.fix) == can_be_converted


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").touch()
    for path in (tmp_path, tmp_path / "words.txt"):
        with pytest.raises(InputError, match="no model"):
            describe(path)
    for missing in (tmp_path / "nothing", "a\0b", "x" * 5_000):
        with pytest.raises(MissingError):
            describe(missing)
    (tmp_path / "config.json").write_bytes(b"{")
    with pytest.raises(IntegrityError, match="no JSON"):
        describe(tmp_path)
