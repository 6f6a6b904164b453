"""How far the explanations of a text model can be trusted: masking_faithfulness.py over tokens, as the explanation
takes them.

    found = text_trust(explainer, folder, rows, limit_s=60.0, open_s=0.4)      as column_trust() gives it

Tokens are no numbers and have no neighbours, so there is no sensitivity. The second method is KernelSHAP, which knows
nothing of sentences and words; of long texts, where it would be too noisy, what is lost without each token alone. The
counterfactual is the least evidence (minimal_evidence.py). For the randomised model the
first texts are explained anew, with fewer answers; the model as it is, too, so that both are alike in that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from deepseek.contracts import Float64
from deepseek.errors import ExtraError
from deepseek.explain.evaluation.masking_curves import Checks
from deepseek.explain.evaluation.masking_faithfulness import (
    AUTO_LIMIT_S,
    FEW,
    Asked,
    Job,
    afforded,
    likeness,
    measured,
    not_measured,
    quickest,
    second_agreement,
    second_name,
    told_of_plan,
)
from deepseek.explain.evaluation.minimal_evidence import evidence
from deepseek.explain.evaluation.model_randomization import MAX_BLOCKS, Layer, blocks_of, layers_of_text, shuffled_text
from deepseek.explain.media.texts import COLUMN, MaskedText, TextExplainer
from deepseek.explain.shapley.partition import Budget

SHUFFLED_ROWS = 3  # texts that are explained for the randomised model
SHUFFLED_BUDGET = Budget(num_evaluations=128)
_TRIAL = 4  # masks
_GAP = "[…]"
NO_NEIGHBOURS = "no sensitivity: a token is no number that could be moved a little"


def text_trust(
    explainer: TextExplainer,
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    limit_s: float | None = None,
    open_s: float = 0.0,
    checks: Checks | None = None,
) -> dict[str, Any]:
    """Of `rows`, each with "target" and its text and tokens in "parts". `open_s`: what it takes to open the model.

    As column_trust() gives it, of "unit" tokens; "taken_away" is "mask" or "attention". Texts without a token have no
    row. A counterfactual's "changes" has the text and what is left of it, "tokens" what was taken away.
    """
    began_s, given = perf_counter(), checks or Checks()
    asked = [(row, explainer.masked(row["parts"][0]["text"], row["target"])) for row in rows]
    empty = [row["row_id"] for row, masked in asked if not masked.spans]
    some = [(row, masked) for row, masked in asked if masked.spans]
    if not some:
        return not_measured(0.0, "no text has a token that could be taken away")
    most = AUTO_LIMIT_S if limit_s is None else limit_s
    token_s = _token_s([masked for _, masked in some])
    jobs = [_job(masked, token_s) for _, masked in some]
    layers, why = _blocks(folder, most / 3, open_s, [job.answer_s for job in jobs[:SHUFFLED_ROWS]])
    left_s = most - _shuffled_s(len(layers), open_s, [job.answer_s for job in jobs[:SHUFFLED_ROWS]])
    expected = sum(job.seconds(given) for job in jobs)
    if limit_s is None and expected > left_s:
        return not_measured(expected + most - left_s)
    chosen, num_rows = afforded(jobs, given, left_s)
    meters = [_Meter(masked) for _, masked in some[:num_rows]]
    found = [
        _of_row(explainer, row, masked, meter, chosen)
        for (row, masked), meter in zip(some[:num_rows], meters, strict=True)
    ]
    shuffled, count = _randomised(explainer, folder, some[:SHUFFLED_ROWS], layers, given.seed)
    return {
        "rows": found, "randomised": shuffled, "num_rows": num_rows, "num_others": 0,
        "others_of": "no other rows: tokens are masked",
        "second": second_name([job.num_players for job in jobs[:num_rows]], "tokens"),
        "num_evaluations": sum(meter.count for meter in meters) + count, "seconds": perf_counter() - began_s,
        "seed": given.seed, "limit_s": most, "unit": "tokens", "taken_away": explainer.taken_away,
        "notes": [
            *_notes([masked for _, masked in some[:num_rows]], empty),
            *told_of_plan(given, chosen, num_rows, len(some)), *why,
        ],
    }  # fmt: skip


class _Meter:
    """The answers to the masks of one text: of what is explained, and of its classes."""

    def __init__(self, masked: MaskedText) -> None:
        self.value = Asked(masked.value)
        self.num_classes = 0

    @property
    def count(self) -> int:
        return self.value.count + self.num_classes


def _token_s(texts: Sequence[MaskedText]) -> float:
    """Seconds of one token in one mask, in the longest text: shorter ones take no more."""
    longest = max(texts, key=lambda text: text.num_tokens)
    masks = np.random.default_rng(0).random((_TRIAL, len(longest.spans))) < 0.5
    return quickest(lambda: longest.value(masks)) / _TRIAL / longest.num_tokens


def _job(masked: MaskedText, token_s: float) -> Job:
    num = len(masked.spans)  # one more mask of each in the counterfactual
    return Job(num, token_s * masked.num_tokens, besides=num)


def _shuffled_s(num_blocks: int, open_s: float, answers_s: Sequence[float]) -> float:
    """What the randomised models take, and the model as it is."""
    explain_s = SHUFFLED_BUDGET.num_evaluations * sum(answers_s)
    return num_blocks * (open_s + explain_s) + (explain_s if num_blocks else 0.0)


def _blocks(folder: Path, limit_s: float, open_s: float, answers_s: Sequence[float]) -> tuple[list[Layer], list[str]]:
    """(what is shuffled step by step, why nothing or less is)."""
    try:
        layers = layers_of_text(folder)
    except ExtraError as error:
        return [], [f"the model was not shuffled: {error}"]
    if not layers:
        return [], ["the model was not shuffled: a copy of its weights would need too much memory"]
    most = min(len(layers), MAX_BLOCKS)
    num = next((num for num in range(most, 0, -1) if _shuffled_s(num, open_s, answers_s) <= limit_s), 0)
    if not num:
        return [], ["the model was not shuffled, to keep to the time limit"]
    return blocks_of(layers, num), []


def _of_row(
    explainer: TextExplainer, row: Mapping[str, Any], masked: MaskedText, meter: _Meter, checks: Checks
) -> dict[str, Any]:
    values = np.array([token["value"] for token in row["parts"][0]["tokens"]])
    return {
        "row_id": row.get("row_id"), "prediction": row.get("prediction"), **measured(meter.value, values, checks),
        "sensitivity": None, "agreement": second_agreement(meter.value, values, seed=checks.seed), "nearest": None,
        "counterfactual": _evidence(explainer, masked, meter, values, row["target"]),
    }  # fmt: skip


def _evidence(
    explainer: TextExplainer, masked: MaskedText, meter: _Meter, values: Float64, target: str | None
) -> dict[str, Any] | None:
    """None for embeddings, where the class stays, and where what is explained says nothing of the class answered."""
    if target is None:
        return None
    own = explainer.code(masked.logits(np.ones((1, len(values)), bool)), target)[0]
    sign = explainer.sign(int(own), target)
    found = sign and evidence(lambda masks: explainer.code(masked.logits(masks), target), sign * values)
    if not found:
        return None
    places, other, count = found
    meter.num_classes += count
    return {
        "changes": {COLUMN: [masked.text, _without(masked, places)]},
        "tokens": [
            {"text": masked.text[slice(*masked.spans[place])], "start": masked.spans[place][0],
             "end": masked.spans[place][1]}
            for place in places
        ],
        "from": explainer.named(int(own), target), "to": explainer.named(other, target), "num_predicted": count,
    }  # fmt: skip


def _without(masked: MaskedText, places: Sequence[int]) -> str:
    """What is left of a text, with a sign where something was.

    >>> text = MaskedText("so good, so far", [(0, 2), (3, 7), (7, 8), (9, 11)], None, False, 6, None, None)
    >>> _without(text, [1, 2])
    'so […] so far'
    """
    found: list[str] = []
    at, last = 0, -2
    for place in places:
        start, end = masked.spans[place]
        if place != last + 1:
            found += [masked.text[at:start], _GAP]
        at, last = end, place
    return "".join([*found, masked.text[at:]])


def _randomised(
    explainer: TextExplainer,
    folder: Path,
    some: Sequence[tuple[Mapping[str, Any], MaskedText]],
    blocks: Sequence[Layer],
    seed: int,
) -> tuple[list[dict[str, Any]], int]:
    """([{"layer", "similarity"}, ...], number of answers), cascading."""
    some = [(row, masked) for row, masked in some if len(masked.spans) > 1]
    if not blocks or not some:
        return [], 0
    truth, count = _explained([masked for _, masked in some])
    found: list[dict[str, Any]] = []
    names: list[str] = []
    for name, tensors in blocks:
        names += tensors
        engine = shuffled_text(folder, names, seed=seed)
        try:
            other = explainer.with_run(engine.run)
            values, more = _explained([other.masked(masked.text, row["target"]) for row, masked in some])
        finally:
            engine.close()
        found.append({"layer": name, "similarity": likeness(truth, values)})
        count += more
    return found, count


def _explained(texts: Sequence[MaskedText]) -> tuple[list[Float64], int]:
    """(what the tokens of each add, number of answers)."""
    found = [each for text in texts if (each := text.owen(SHUFFLED_BUDGET)) is not None]
    return [each.values for each in found], sum(each.num_evaluations for each in found)


def _notes(texts: Sequence[MaskedText], empty: Sequence[int]) -> list[str]:
    notes = [NO_NEIGHBOURS]
    sizes = [len(text.spans) for text in texts]
    if min(sizes) <= FEW:
        notes.append(
            f"a text of {FEW} tokens or fewer has so few orders of them that no curve of it is told from chance"
        )
    if empty:
        words = ", ".join(map(str, empty))
        notes.append(f"nothing was measured of texts without a token that could be taken away: row {words}")
    return notes
