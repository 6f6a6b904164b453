"""Language models small enough for a test: one that is trained on a few lines, and random ones of each family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from deepseek.train.loop.language import LanguageOptions, fit_tokenizer, train_language

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler in the mind to suffer é 中文 😀\n" * 40
TINY = LanguageOptions(
    vocab_size=300,
    num_layers=2,
    num_heads=2,
    width=32,
    max_positions=256,
    max_steps=60,
    batch_size=8,
    window=32,
    learning_rate=1e-2,
)
SIZES = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 128},
    "llama": {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
              "intermediate_size": 48, "max_position_embeddings": 128},
    "llama3": {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 64, "intermediate_size": 48,
               "max_position_embeddings": 128, "rope_parameters": {
                   "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                   "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
    "qwen2": {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
              "intermediate_size": 48, "max_position_embeddings": 128, "tie_word_embeddings": True},
    # Families that are not converted: rotary positions, attention biased by distance, a state instead of keys.
    "gpt_neox": {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 48,
                 "max_position_embeddings": 128},
    "bloom": {"n_layer": 2, "n_head": 2, "hidden_size": 32},
    "mamba": {"num_hidden_layers": 2, "hidden_size": 32},
}  # fmt: skip


def trained(folder: Path) -> Path:
    """A folder with a decoder that has seen TEXT for a second."""
    train_language(TEXT, folder, TINY)
    return folder


def random_model(family: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A transformers model of random weights, large enough to tell tokens apart, saved to `folder` with a tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family.removesuffix("3"), vocab_size=300, bos_token_id=0, eos_token_id=0, **SIZES[family]
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
            else:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.to(dtype).save_pretrained(folder)
    fit_tokenizer(TEXT, 300).save(str(folder / "tokenizer.json"))
    return model.float()
