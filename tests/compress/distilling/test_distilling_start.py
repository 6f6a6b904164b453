"""A student of every k-th layer computes as its teacher with the others left out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepseek.compress import init_student_from_layers
from deepseek.compress.distilling.start import layer_list
from deepseek.errors import InputError


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Module()
        self.net.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.net.layers:
            x = layer(x).tanh()
        logits: torch.Tensor = self.heads[0](x)
        return logits


@pytest.mark.parametrize(
    ("layers", "kept"), [(1, [0]), (2, [0, 3]), (3, [0, 2, 4]), (4, [0, 1, 3, 4]), (6, list(range(6)))]
)
def test_every_kth_layer_is_copied(layers: int, kept: list[int]) -> None:
    teacher, x = Stack(), torch.randn(3, 4)
    student = init_student_from_layers(teacher, layers=layers)
    weights = [layer.weight for layer in student.net.layers]
    assert all((own == teacher.net.layers[index].weight).all() for own, index in zip(weights, kept, strict=True))
    teacher.net.layers = nn.ModuleList(teacher.net.layers[index] for index in kept)
    assert torch.equal(student(x), teacher(x))
    with torch.no_grad():
        weights[0].zero_()
    assert teacher.net.layers[0].weight.any()


def test_a_number_of_layers_that_cannot_be_is_refused() -> None:
    for layers in (0, 7):
        with pytest.raises(InputError, match=f"layers is {layers}, and the teacher has 6"):
            init_student_from_layers(Stack(), layers=layers)
    with pytest.raises(InputError, match="Linear has no list of layers"):
        init_student_from_layers(nn.Linear(2, 2), layers=1)
    assert layer_list(nn.ModuleList([nn.Linear(1, 1), nn.Tanh()])) is None


def test_the_config_of_a_bert_says_how_many_are_left() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32
    )
    teacher = transformers.BertForSequenceClassification(config).eval()
    student = init_student_from_layers(teacher, layers=2)
    assert (student.config.num_hidden_layers, teacher.config.num_hidden_layers) == (2, 4)
    ids = torch.tensor([[1, 2, 3]])
    again = transformers.BertForSequenceClassification(student.config).eval()
    again.load_state_dict(student.state_dict())
    assert torch.equal(again(input_ids=ids).logits, student(input_ids=ids).logits)
