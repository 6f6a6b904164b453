"""A text to a small model that writes like it, saved as a Hugging Face folder.

    losses = train_language(text, Path("shakespeare"), LanguageOptions(max_steps=300))

The folder holds config.json, generation_config.json, model.safetensors, tokenizer.json (byte-level BPE, fitted on the
text) and tokenizer_config.json with a chat template; transformers and `deepseek serve` load it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn import functional

from deepseek.bundle.place import exclusive_writer, replace_folder, temporary_folder
from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.nn.decoder import Decoder, DecoderShape

END_TOKEN = "<|endoftext|>"  # noqa: S105 - a marker in texts, no secret
#: A chat as the lines of a play: who speaks, a colon, what is said.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}:\n{{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class LanguageOptions:
    """How a text is learned."""

    vocab_size: int = 1024  # tokens, 257 or more: every byte has one
    num_layers: int = 4
    num_heads: int = 4
    width: int = 192
    max_positions: int = 256
    max_steps: int = 400
    batch_size: int = 16  # windows of a step
    window: int = 128  # tokens of a window, at most max_positions
    learning_rate: float = 2e-3  # its highest; it rises over a tenth of the steps and falls as a cosine
    seed: int = 0

    def __post_init__(self) -> None:
        if self.vocab_size < 257:
            raise InputError(f"vocab_size is {self.vocab_size}", expected="257 or more", fix="raise vocab_size")
        if not 2 <= self.window <= self.max_positions:
            raise InputError(
                f"window is {self.window}",
                expected=f"2 to max_positions, {self.max_positions}",
                fix="change one of them",
            )
        if self.max_steps < 1 or self.batch_size < 1:
            raise InputError(
                "there is nothing to learn from", expected="max_steps and batch_size of 1 or more", fix="raise them"
            )


def train_language(text: str, folder: Path, options: LanguageOptions | None = None) -> list[float]:
    """Train on `text` and write `folder`. Returns the loss of every step, in nats a token.

    The same text, options and seed give the same folder on the same machine. InputError for a text that is shorter
    than one window.
    """
    options = options or LanguageOptions()
    tokenizer = fit_tokenizer(text, options.vocab_size)
    ids = torch.tensor(tokenizer.encode(text).ids)  # (N,)
    if len(ids) <= options.window:
        raise InputError(
            f"the text has {len(ids)} tokens",
            expected=f"more than the window, {options.window}",
            fix="give a longer text",
        )
    generator = torch.Generator().manual_seed(options.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        decoder = Decoder(
            DecoderShape(
                tokenizer.get_vocab_size(), options.num_layers, options.num_heads, options.width, options.max_positions
            )
        )
    losses = _train_decoder(decoder, ids, options, generator)
    with exclusive_writer(folder), temporary_folder(folder) as part:
        save_folder(decoder, tokenizer, part)
        replace_folder(part, folder)
    return losses


def fit_tokenizer(text: str, vocab_size: int) -> Any:
    """A byte-level BPE tokenizer (tokenizers.Tokenizer) of at most `vocab_size` tokens; the first one is END_TOKEN."""
    library = need("tokenizers", extra="llm")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_TOKEN],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def save_folder(decoder: Decoder, tokenizer: Any, folder: Path) -> None:
    """Write the files of a Hugging Face folder into `folder`, which exists."""
    end_id = tokenizer.token_to_id(END_TOKEN)
    files = {
        "config.json": decoder.shape.config(end_id),
        "generation_config.json": {"bos_token_id": end_id, "eos_token_id": end_id},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_TOKEN, "eos_token": END_TOKEN,
            "pad_token": END_TOKEN,
            "model_max_length": decoder.shape.max_positions, "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(decoder.tensors(), folder / "model.safetensors", metadata={"format": "pt"})


def _train_decoder(decoder: Decoder, ids: Tensor, options: LanguageOptions, generator: torch.Generator) -> list[float]:
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
    offsets = torch.arange(options.window + 1)
    losses = []
    for step in range(options.max_steps):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _learning_rate_share(step, options.max_steps)
        starts = torch.randint(len(ids) - options.window, (options.batch_size, 1), generator=generator)
        windows = ids[starts + offsets]  # (B, S + 1)
        logits = decoder(windows[:, :-1])  # (B, S, V)
        loss = functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _learning_rate_share(step: int, max_steps: int) -> float:
    """The share of the highest learning rate at a step: a rise, then a cosine to a tenth.

    >>> round(_learning_rate_share(0, 100), 2), _learning_rate_share(10, 100), round(_learning_rate_share(99, 100), 2)
    (0.1, 1.0, 0.1)
    """
    rise = max(max_steps // 10, 1)
    if step < rise:
        return (step + 1) / rise
    return 0.55 + 0.45 * math.cos(math.pi * (step - rise) / max(max_steps - rise, 1))
