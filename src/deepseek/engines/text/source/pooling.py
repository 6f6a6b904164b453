"""How the tokens of a text become one embedding: modules.json of sentence-transformers, else the mean of the tokens.

    pooling = Pooling.read(Path("all-MiniLM"))    # Pooling(modes=("mean",), normalize=True, max_tokens=256)

Modules other than Transformer, Pooling and Normalize change the embedding; a folder with one of them is refused.
Source: sentence-transformers 5, sentence_transformers/models/{Pooling,Normalize,Transformer}.py: names and their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.bundle.paths import path_problem
from deepseek.engines.text.source.folder import JsonFields, has_file, read_json, read_object
from deepseek.errors import InputError, IntegrityError

MODULES_FILE = "modules.json"
#: In the order in which their parts stand in the embedding.
POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens")
_MODE_BY_KEY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}
_SETTINGS_FILES = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json")
_MAX_PROMPT_LETTERS = 10_000
_FIX = "give a model whose embedding is made of these; `deepseek convert` leaves modules and pooling as they are"


@dataclass(frozen=True, slots=True)
class Pooling:
    """What follows the last layer, and what sentence-transformers does to a text before the tokenizer."""

    modes: tuple[str, ...] = ("mean",)
    normalize: bool = False
    max_tokens: int | None = None
    lower: bool = False
    prompt: str = ""  # stands before every text
    files: tuple[str, ...] = ()  # what was read

    @classmethod
    def read(cls, folder: Path) -> Pooling:
        """The pooling of a folder. IntegrityError for files that do not fit, InputError for modules that are not run
        here."""
        if not has_file(folder, MODULES_FILE):
            return cls()
        modes: tuple[str, ...] = ("mean",)
        normalize, files = False, [MODULES_FILE]
        for kind, path in _read_modules(folder):
            if kind == "Pooling":
                name = f"{path}/config.json"
                modes = _read_modes(read_object(folder, name))
                files.append(name)
            normalize = normalize or kind == "Normalize"
        settings_file = next((name for name in _SETTINGS_FILES if has_file(folder, name)), None)
        settings = read_object(folder, settings_file) if settings_file else JsonFields({}, "")
        files += [settings_file] if settings_file else []
        prompt, prompt_files = _read_prompt(folder)
        return cls(
            modes=modes,
            normalize=normalize,
            max_tokens=settings.field("max_seq_length", int, None),
            lower=settings.field("do_lower_case", bool, False),
            prompt=prompt,
            files=(*files, *prompt_files),
        )


def pool_tokens(rows: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], pooling: Pooling) -> np.ndarray[Any, Any]:
    """Token vectors (N, L, H) float32 and a mask (N, L), 1 for a token, to embeddings (N, number of modes * H).
    graph.py does the same in its graph."""
    is_token = mask[:, :, None] != 0
    total = (rows * is_token).sum(axis=1)
    length = np.maximum(is_token.sum(axis=1), 1).astype(np.float32)
    pooled = {"cls": rows[:, 0], "mean": total / length, "mean_sqrt_len_tokens": total / np.sqrt(length)}
    if "max" in pooling.modes:
        pooled["max"] = np.where(is_token, rows, -np.inf).max(axis=1)
    embeddings = np.concatenate([pooled[mode] for mode in pooling.modes], axis=1)
    if pooling.normalize:
        embeddings = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    return np.asarray(embeddings, np.float32)


def _read_modules(folder: Path) -> list[tuple[str, str]]:
    """The last word of the type and the folder of each module: a Transformer in the folder itself, then the others."""
    document = read_json(folder, MODULES_FILE)
    entries = document if isinstance(document, list) else []
    modules = [
        (entry["type"].rsplit(".", 1)[-1], entry["path"])
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("type"), str) and isinstance(entry.get("path"), str)
    ]
    is_inside = all(path == "" or path_problem(path) is None for _, path in modules)
    if not modules or len(modules) != len(entries) or not is_inside or modules[0] != ("Transformer", ""):
        raise IntegrityError(
            f"{MODULES_FILE} in {folder} does not begin with a Transformer in the folder itself, or leads outside",
            expected='[{"path": "", "type": "sentence_transformers.models.Transformer"}, ...]',
            fix="save the model again with sentence-transformers 2 or later",
        )
    other = next((kind for kind, _ in modules[1:] if kind not in ("Pooling", "Normalize")), None)
    if other:
        raise InputError(
            f"{MODULES_FILE} in {folder} has a module {other[:60]!r}, which is not run here",
            expected="Transformer, Pooling, Normalize",
            fix=_FIX,
        )
    return modules


def _read_modes(config: JsonFields) -> tuple[str, ...]:
    """The modes of a Pooling module. Older files have a key for each mode; newer ones name them."""
    mode = config.get("pooling_mode")
    listed = mode if isinstance(mode, list) else [mode] if mode else []
    listed += [
        _MODE_BY_KEY.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on is True
    ]
    unknown = [mode for mode in listed if mode not in POOLING_MODES]
    if unknown or not listed:
        raise InputError(
            f"{config.where}: the pooling {repr(unknown[0])[:60] if unknown else 'has no mode and'} is not run here",
            expected=", ".join(POOLING_MODES),
            fix=_FIX,
        )
    return tuple(mode for mode in POOLING_MODES if mode in listed)


def _read_prompt(folder: Path) -> tuple[str, list[str]]:
    """The prompt that sentence-transformers puts before every text, and the file that names it."""
    name = "config_sentence_transformers.json"
    config = read_object(folder, name, is_optional=True)
    prompt_name = config.field("default_prompt_name", str, "")
    prompts = config.field("prompts", dict, {})
    if not prompt_name:
        return "", []
    prompt = prompts.get(prompt_name)
    if not isinstance(prompt, str) or len(prompt) > _MAX_PROMPT_LETTERS:
        raise IntegrityError(
            f"{name} in {folder} has no prompt {prompt_name[:60]!r}",
            expected="the name of one of its prompts",
            fix="correct default_prompt_name, or set it to null",
        )
    return prompt, [name]
