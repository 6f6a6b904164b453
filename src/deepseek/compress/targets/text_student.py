"""The student of a text model, distilled once when a plan needs it, on the user's training texts.

pupil = TextStudent(model, texts, labels, seed)
pupil.folder()          # a Hugging Face folder of a ninth of the parameters; the first call trains
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from deepseek.engines.text import TextModel
from deepseek.extras import need

DISTILL_STEP = "distill"  # of the steps of such a plan
DISTILL_PLANS = ((DISTILL_STEP,), (DISTILL_STEP, "int8-weights"))


class TextStudent:
    """A student that is trained on first use, in a temporary folder that close() removes."""

    def __init__(self, model: TextModel, texts: Sequence[str], labels: Sequence[int] | None, seed: int) -> None:
        self.model, self.texts, self.labels, self.seed = model, texts, labels, seed
        self._folder: Path | None = None  # of the student, once it is taught
        self._resources = ExitStack()
        self._note = ""

    def folder(self) -> Path:
        """Errors as those of distill_folder()."""
        if self._folder is None:
            need("torch", extra="compress"), need("transformers", extra="compress")
            from deepseek.compress.distilling.text_student import distill_folder

            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deepseek-")))
                result = distill_folder(
                    self.model.path, self.texts, self.labels, folder / "student", seed=self.seed, progress=False
                )
                self._folder, self._resources = folder, stack.pop_all()
            self._note = (
                f"{result.num_parameters:,} parameters, {1 / result.share:.1f} times fewer; learnt of its teacher"
            )
        return self._folder / "student"

    def note(self) -> str:
        """A remark for the report on size and training; "" before the training."""
        return f"{self._note} on {len(self.texts):,} texts" if self._note else ""

    def close(self) -> None:
        """Remove the folder."""
        self._resources.close()
        self._folder = None
