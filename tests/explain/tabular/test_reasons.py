"""Sentences on what moved an answer: a long text is shown by its beginning."""

from __future__ import annotations

import numpy as np

from deepseek.contracts import Attribution
from deepseek.explain.tabular.reasons import MAX_VALUE_CHARACTERS, reason_codes


def test_a_long_text_is_shown_by_its_beginning() -> None:
    attribution = Attribution(("note",), np.array([[1.5]]), np.zeros(1), np.array([1.5]), "log-odds", "linear", "yes")
    (sentence,) = reason_codes(attribution, {"note": "lost " * 4_000})
    assert sentence.startswith("note = lost lost")
    assert sentence.endswith("… raises the log-odds of yes by 1.50")
    assert len(sentence) < MAX_VALUE_CHARACTERS + 60
    assert "… " not in reason_codes(attribution, {"note": "lost"})[0]
