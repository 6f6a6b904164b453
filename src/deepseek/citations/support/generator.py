"""A causal language model of a Hugging Face folder as the generator whose causes are asked for.

    report = cite(text, corpus, FolderGenerator("qwen2-0.5b"))

One forward pass for each set of clauses: the clauses, then the text; a sentence's log-probability is the sum over its
tokens. It runs in transformers on the CPU; nothing of the folder's own code is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepseek.engines.text.source.folder import check_folder
from deepseek.errors import InputError
from deepseek.extras import need

EXTRA = "llm-torch"
PROMPT_TEMPLATE, SEPARATOR = "{clauses}\n\n", "\n"


class FolderGenerator:
    """`head` is put before the text; {clauses} in it becomes the clauses, each on a line of its own."""

    def __init__(self, folder: str | Path, *, head: str = PROMPT_TEMPLATE, num_threads: int = 1) -> None:
        path = check_folder(folder)
        self.name = path.resolve().name  # stands in the report
        if "{clauses}" not in head:
            raise InputError("head has no {clauses}", expected=repr(PROMPT_TEMPLATE), fix="say where the clauses stand")
        self._torch, library = need("torch", extra=EXTRA), need("transformers", extra=EXTRA)
        self._tokenizer: Any = need("tokenizers", extra=EXTRA).Tokenizer.from_file(str(path / "tokenizer.json"))
        self._torch.set_num_threads(num_threads)
        self._model = library.AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
        self._most = getattr(self._model.config, "max_position_embeddings", None)
        self._head = head

    def log_probabilities(self, clauses: Sequence[str], sentences: Sequence[str]) -> list[float]:
        """Log-probabilities of the sentences, given the clauses and the sentences before it. InputError for more tokens
        than are read."""
        text = self._head.replace("{clauses}", SEPARATOR.join(clauses))
        ends = []
        for sentence in sentences:
            text += sentence + SEPARATOR
            ends.append(len(text))
        encoding = self._tokenizer.encode(text)
        ids = encoding.ids
        if self._most is not None and len(ids) > self._most:
            raise InputError(
                f"clauses and text have {len(ids)} tokens",
                expected=f"at most {self._most}",
                fix="give the text in parts",
            )
        with self._torch.inference_mode():
            scores = self._model(self._torch.tensor([ids])).logits[0].float().log_softmax(-1)
        start = ends[0] - len(sentences[0]) - len(SEPARATOR)
        totals = [0.0] * len(sentences)
        row = 0
        for position in range(1, len(ids)):
            first = encoding.offsets[position][0]
            while row < len(ends) - 1 and first >= ends[row]:
                row += 1
            if first >= start:
                totals[row] += float(scores[position - 1, ids[position]])
        return totals
