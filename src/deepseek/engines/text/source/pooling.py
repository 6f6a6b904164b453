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
from deepseek.engines.text.source.folder import has_file, read_field, read_json, read_object
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
        """IntegrityError for files that do not fit, InputError for modules that are not run here."""
        if not has_file(folder, MODULES_FILE):
            return cls()
        modes: tuple[str, ...] = ("mean",)
        normalize, files = False, [MODULES_FILE]
        for kind, path in _read_modules(folder):
            if kind == "Pooling":
                name = f"{path}/config.json"
                modes = _read_modes(read_object(folder, name), f"{name} in {folder}")
                files.append(name)
            normalize = normalize or kind == "Normalize"
        settings = next((name for name in _SETTINGS_FILES if has_file(folder, name)), None)
        given = read_object(folder, settings) if settings else {}
        files += [settings] if settings else []
        prompt, prompt_files = _read_prompt(folder)
        return cls(
            modes=modes,
            normalize=normalize,
            max_tokens=read_field(given, "max_seq_length", int, f"{settings} in {folder}", None),
            lower=read_field(given, "do_lower_case", bool, f"{settings} in {folder}", False),
            prompt=prompt,
            files=(*files, *prompt_files),
        )


def pool_tokens(rows: np.ndarray[Any, Any], mask: np.ndarray[Any, Any], pooling: Pooling) -> np.ndarray[Any, Any]:
    """(N, L, H) float32 and (N, L), 1 for a token -> (N, number of modes * H). graph.py does the same in its graph."""
    seen = mask[:, :, None] != 0
    total = (rows * seen).sum(axis=1)
    length = np.maximum(seen.sum(axis=1), 1).astype(np.float32)
    made = {"cls": rows[:, 0], "mean": total / length, "mean_sqrt_len_tokens": total / np.sqrt(length)}
    if "max" in pooling.modes:
        made["max"] = np.where(seen, rows, -np.inf).max(axis=1)
    found = np.concatenate([made[mode] for mode in pooling.modes], axis=1)
    if pooling.normalize:
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return np.asarray(found, np.float32)


def _read_modules(folder: Path) -> list[tuple[str, str]]:
    """(the last word of the type, its folder) of each module: a Transformer in the folder itself, then the others."""
    given = read_json(folder, MODULES_FILE)
    entries = given if isinstance(given, list) else []
    found = [
        (entry["type"].rsplit(".", 1)[-1], entry["path"])
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("type"), str) and isinstance(entry.get("path"), str)
    ]
    inside = all(path == "" or path_problem(path) is None for _, path in found)
    if not found or len(found) != len(entries) or not inside or found[0] != ("Transformer", ""):
        raise IntegrityError(
            f"{MODULES_FILE} in {folder} does not begin with a Transformer in the folder itself, or leads outside",
            expected='[{"path": "", "type": "sentence_transformers.models.Transformer"}, ...]',
            fix="save the model again with sentence-transformers 2 or later",
        )
    other = next((kind for kind, _ in found[1:] if kind not in ("Pooling", "Normalize")), None)
    if other:
        raise InputError(
            f"{MODULES_FILE} in {folder} has a module {other[:60]!r}, which is not run here",
            expected="Transformer, Pooling, Normalize",
            fix=_FIX,
        )
    return found


def _read_modes(given: dict[str, Any], where: str) -> tuple[str, ...]:
    """Older files have a key for each mode; newer ones name it."""
    named = given.get("pooling_mode")
    listed = named if isinstance(named, list) else [named] if named else []
    listed += [
        _MODE_BY_KEY.get(key, key) for key, on in given.items() if key.startswith("pooling_mode_") and on is True
    ]
    unknown = [mode for mode in listed if mode not in POOLING_MODES]
    if unknown or not listed:
        raise InputError(
            f"{where}: the pooling {repr(unknown[0])[:60] if unknown else 'has no mode and'} is not run here",
            expected=", ".join(POOLING_MODES),
            fix=_FIX,
        )
    return tuple(mode for mode in POOLING_MODES if mode in listed)


def _read_prompt(folder: Path) -> tuple[str, list[str]]:
    """The prompt that sentence-transformers puts before a text unasked."""
    name = "config_sentence_transformers.json"
    given = read_object(folder, name, {})
    chosen = read_field(given, "default_prompt_name", str, name, "")
    prompts = read_field(given, "prompts", dict, name, {})
    if not chosen:
        return "", []
    prompt = prompts.get(chosen)
    if not isinstance(prompt, str) or len(prompt) > _MAX_PROMPT_LETTERS:
        raise IntegrityError(
            f"{name} in {folder} has no prompt {chosen[:60]!r}",
            expected="the name of one of its prompts",
            fix="correct default_prompt_name, or set it to null",
        )
    return prompt, [name]
