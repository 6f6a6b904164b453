"""The student of a text model, made once when a plan asks for it, of texts that the user gives to train on.

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
    """Give it back with close()."""

    def __init__(self, model: TextModel, texts: Sequence[str], labels: Sequence[int] | None, seed: int) -> None:
        self.model, self.texts, self.labels, self.seed = model, texts, labels, seed
        self._place: Path | None = None  # of the student, once it is taught
        self._held = ExitStack()
        self._note = ""

    def folder(self) -> Path:
        """Errors as those of distill_folder()."""
        if self._place is None:
            need("torch", extra="compress"), need("transformers", extra="compress")
            from deepseek.compress.distilling.text_student import distill_folder

            with ExitStack() as held:
                place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="deepseek-")))
                done = distill_folder(
                    self.model.path, self.texts, self.labels, place / "student", seed=self.seed, progress=False
                )
                self._place, self._held = place, held.pop_all()
            self._note = f"{done.num_parameters:,} parameters, {1 / done.share:.1f} times fewer; learnt of its teacher"
        return self._place / "student"

    def note(self) -> str:
        """For a reader of the table."""
        return f"{self._note} on {len(self.texts):,} texts" if self._note else ""

    def close(self) -> None:
        """Remove the folder."""
        self._held.close()
        self._place = None
