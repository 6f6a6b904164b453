"""transformers, as it is used here: quiet, safetensors only, and no code of a folder is ever run.

library = TransformersLibrary(extra="convert")
try: model = library.load(folder, "embedding", dtype=torch.float32, attention="sdpa")
except library.raised: ...                      # transformers raises what it likes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek.engines.text.source.architecture import TextTask
from deepseek.errors import InputError
from deepseek.extras import need

_AUTO_CLASSES: dict[TextTask, str] = {
    "embedding": "AutoModel",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
}
_LOAD_ERRORS = (
    OSError, ValueError, ArithmeticError, RuntimeError, LookupError, TypeError, AttributeError, ImportError,
    AssertionError,
)  # fmt: skip
SAFE_OPTIONS = {"local_files_only": True, "trust_remote_code": False}


class TransformersLibrary:
    """transformers as a module, and the ways to open a model with it. ExtraError, which names `extra`, without it."""

    def __init__(self, *, extra: str) -> None:
        self.module = need("transformers", extra=extra)
        self.module.utils.logging.set_verbosity_error()
        self.module.utils.logging.disable_progress_bar()
        strict = need("huggingface_hub.errors", extra=extra).StrictDataclassError  # a configuration of wrong types
        self.raised = (*_LOAD_ERRORS, strict, need("safetensors", extra=extra).SafetensorError)

    def auto(self, task: TextTask) -> Any:
        """The class of transformers that opens models for a task."""
        return getattr(self.module, _AUTO_CLASSES[task])

    def load(self, folder: Path, task: TextTask, *, dtype: Any, attention: str) -> Any:
        """The model, in evaluation mode. InputError when not all of its weights are there; `raised` for all else."""
        config = self.module.AutoConfig.from_pretrained(folder, **SAFE_OPTIONS)
        model, loading_info = self.auto(task).from_pretrained(
            folder, config=config, use_safetensors=True, dtype=dtype, attn_implementation=attention,
            output_loading_info=True, **SAFE_OPTIONS,
        )  # fmt: skip
        # The last hidden state has nothing of a pooler in it.
        missing = sorted(
            name for name in loading_info["missing_keys"] if task != "embedding" or not name.startswith("pooler.")
        )
        if missing:
            raise InputError(
                f"the weights of {folder} have no {missing[0][:100]!r}, and {len(missing) - 1} others are missing",
                expected=f"all tensors of {type(model).__name__}",
                fix="take config.json and weights of one and the same model",
            )
        return model.eval()
