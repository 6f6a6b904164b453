"""The decoder is GPT-2 as transformers computes it."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from deepseek.errors import InputError
from deepseek.nn.decoder import Decoder, DecoderShape

SHAPE = DecoderShape(vocab_size=50, num_layers=2, num_heads=2, width=16, max_positions=20)


def test_transformers_computes_the_same_logits_from_the_same_tensors() -> None:
    torch.manual_seed(0)
    decoder = Decoder(SHAPE)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    twin = GPT2LMHeadModel(GPT2Config(**SHAPE.config(end_id=0))).eval()
    tensors = {name: torch.from_numpy(array) for name, array in decoder.tensors().items()}
    left_out = twin.load_state_dict(tensors, strict=False)
    assert left_out.unexpected_keys == []
    assert left_out.missing_keys in ([], ["lm_head.weight"])  # the output layer is the embedding
    ids = torch.randint(50, (3, 20))
    with torch.no_grad():
        assert torch.allclose(decoder(ids), twin(ids).logits, atol=1e-5)


def test_a_token_is_not_seen_by_those_before_it() -> None:
    torch.manual_seed(0)
    decoder = Decoder(SHAPE)
    ids = torch.randint(50, (1, 10))
    changed = ids.clone()
    changed[0, 6] = (changed[0, 6] + 1) % 50
    with torch.no_grad():
        before, after = decoder(ids), decoder(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_a_shape_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="a multiple of num_heads"):
        DecoderShape(vocab_size=50, num_heads=3, width=16)
    with pytest.raises(InputError, match="num_layers is 0"):
        DecoderShape(vocab_size=50, num_layers=0)
