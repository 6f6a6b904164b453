"""A BERT that computes of its last layer what its classifier reads gives the answers and the gradients of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepseek.compress.distilling.start import init_student_from_layers
from support.nets.textfolders import make_text_folder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from deepseek.compress.distilling.cls_only import ClsOnlyClassifier  # noqa: E402

IDS = torch.tensor([[2, 9, 7, 12, 3], [2, 6, 3, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    folder = make_text_folder(tmp_path / "t", task="sequence-classification")
    return transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()


@pytest.mark.parametrize("layers", [1, 2])
def test_answers_and_gradients_are_those_of_the_whole_model(whole: Any, layers: int) -> None:
    model = init_student_from_layers(whole, layers=layers)
    expected = model(**BATCH).logits
    expected.square().sum().backward()
    wanted = {name: each.grad.clone() for name, each in model.named_parameters()}
    model.zero_grad()
    outputs = ClsOnlyClassifier(model)(**BATCH)
    assert torch.allclose(outputs, expected, atol=1e-6)
    outputs.square().sum().backward()
    for name, each in model.named_parameters():
        assert torch.allclose(each.grad, wanted[name], atol=1e-5), name


def test_padding_weighs_nothing_and_dropout_is_that_of_training(whole: Any) -> None:
    module = ClsOnlyClassifier(whole)
    alone = {"input_ids": IDS[1:, :3], "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    assert torch.allclose(module.eval()(**BATCH)[1:], module(**alone), atol=1e-6)
    assert torch.equal(module(**BATCH), module(**BATCH))
    for part in whole.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.5 if part is whole.bert.encoder.layer[-1].attention.self.dropout else 0.0
    module.train()
    assert not torch.equal(module(**BATCH), module(**BATCH))
