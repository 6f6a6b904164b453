"""How far the explanations of a text model can be trusted: masking_faithfulness.py over tokens, as the explanation
takes them.

    report = text_faithfulness(explainer, folder, rows, limit_s=60.0, open_s=0.4)      as column_faithfulness() gives it

Tokens are no numbers and have no neighbors, so there is no sensitivity. The second method is KernelSHAP, which knows
nothing of sentences and words; of long texts, where it would be too noisy, what is lost without each token alone. The
counterfactual is the least evidence (minimal_evidence.py). For the randomized model the
first texts are explained anew, with fewer answers; the model as it is, too, so that both are alike in that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from deepseek.contracts import Float64
from deepseek.errors import ExtraError
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig
from deepseek.explain.evaluation.masking_faithfulness import (
    AUTO_LIMIT_S,
    FEW_PLAYERS,
    CachedValueFunction,
    RowCost,
    fastest_call_s,
    fit_time_limit,
    mean_magnitude_correlation,
    measure_masking,
    plan_notes,
    second_method_agreement,
    second_method_name,
    skipped_report,
)
from deepseek.explain.evaluation.minimal_evidence import find_minimal_evidence
from deepseek.explain.evaluation.model_randomization import (
    MAX_RANDOMIZATION_STEPS,
    LayerTensors,
    group_layers,
    randomize_text_model,
    text_model_layers,
)
from deepseek.explain.evaluation.records import Faithfulness, FaithfulnessReport, RandomizationStep, RowFaithfulness
from deepseek.explain.media.texts import TEXT_COLUMN, MaskedText, TextExplainer
from deepseek.explain.records import CounterfactualReport, PartDocument, RemovedToken, RowExplanation
from deepseek.explain.shapley.partition import Budget

MAX_RANDOMIZATION_ROWS = 3  # texts that are explained for the randomized model
RANDOMIZATION_BUDGET = Budget(num_evaluations=128)
_NUM_TRIAL_MASKS = 4  # masks
_OMISSION_MARK = "[…]"
NO_SENSITIVITY_NOTE = "no sensitivity: a token is no number that could be moved a little"


def text_faithfulness(
    explainer: TextExplainer,
    folder: Path,
    rows: Sequence[RowExplanation],
    *,
    limit_s: float | None = None,
    open_s: float = 0.0,
    target: str | None = None,
    checks: FaithfulnessConfig | None = None,
) -> Faithfulness:
    """How far the explanations of `rows` hold, whose parts have their text and tokens, as column_faithfulness()
    measures it of "unit" tokens; "taken_away" is "mask" or "attention".

    Texts without a token have no row. A counterfactual's "changes" has the text and what is left of it, "tokens" what
    was taken away. `open_s`: seconds that it takes to open the model in `folder`.
    """
    began_s, config = perf_counter(), checks or FaithfulnessConfig()
    masked_texts = [explainer.mask_text(_part(row)["text"], row.target) for row in rows]
    empty = [row.row_id for row, masked in zip(rows, masked_texts, strict=True) if not masked.spans]
    some = [(row, masked) for row, masked in zip(rows, masked_texts, strict=True) if masked.spans]
    if not some:
        return skipped_report(0.0, "no text has a token that could be taken away")
    most_s = AUTO_LIMIT_S if limit_s is None else limit_s
    token_s = _seconds_per_token([masked for _, masked in some])
    costs = [_text_cost(masked, token_s) for _, masked in some]
    answers_s = [cost.answer_s for cost in costs[:MAX_RANDOMIZATION_ROWS]]
    layers, why = _plan_randomization(folder, most_s / 3, open_s, answers_s)
    left_s = most_s - _randomization_seconds(len(layers), open_s, answers_s)
    expected_s = sum(cost.seconds(config) for cost in costs)
    if limit_s is None and expected_s > left_s:
        return skipped_report(expected_s + most_s - left_s)
    affordable, num_rows = fit_time_limit(costs, config, left_s)
    meters = [_CountedAnswers(masked) for _, masked in some[:num_rows]]
    measures = [
        _measure_text(explainer, row, masked, meter, affordable, target)
        for (row, masked), meter in zip(some[:num_rows], meters, strict=True)
    ]
    steps, count = _randomize_text(explainer, folder, some[:MAX_RANDOMIZATION_ROWS], layers, config.seed)
    notes = _measurement_notes([masked for _, masked in some[:num_rows]], empty)
    return FaithfulnessReport(
        rows=tuple(measures), randomization=tuple(steps), num_rows=num_rows, num_others=0,
        others_of="no other rows: tokens are masked",
        second=second_method_name([cost.num_players for cost in costs[:num_rows]], "tokens"),
        num_evaluations=sum(meter.count for meter in meters) + count, seconds=perf_counter() - began_s,
        seed=config.seed, limit_s=most_s, unit="tokens", taken_away=explainer.taken_away,
        notes=(*notes, *plan_notes(config, affordable, num_rows, len(some)), *why),
    )  # fmt: skip


def _part(row: RowExplanation) -> PartDocument:
    """The one text of a row, with its tokens."""
    return (row.parts or ())[0]


class _CountedAnswers:
    """The answers to the masks of one text: of what is explained, and of its classes."""

    def __init__(self, masked: MaskedText) -> None:
        self.value = CachedValueFunction(masked.value)
        self.num_classes = 0

    @property
    def count(self) -> int:
        return self.value.count + self.num_classes


def _seconds_per_token(texts: Sequence[MaskedText]) -> float:
    """Seconds of one token in one mask, in the longest text: shorter ones take no more."""
    longest = max(texts, key=lambda text: text.num_tokens)
    masks = np.random.default_rng(0).random((_NUM_TRIAL_MASKS, len(longest.spans))) < 0.5
    return fastest_call_s(lambda: longest.value(masks)) / _NUM_TRIAL_MASKS / longest.num_tokens


def _text_cost(masked: MaskedText, token_s: float) -> RowCost:
    num = len(masked.spans)  # one more mask of each in the counterfactual
    return RowCost(num, token_s * masked.num_tokens, besides=num)


def _randomization_seconds(num_blocks: int, open_s: float, answers_s: Sequence[float]) -> float:
    """Seconds for explaining the first texts by the model as it is and by every randomized one."""
    explain_s = RANDOMIZATION_BUDGET.num_evaluations * sum(answers_s)
    return num_blocks * (open_s + explain_s) + (explain_s if num_blocks else 0.0)


def _plan_randomization(
    folder: Path, limit_s: float, open_s: float, answers_s: Sequence[float]
) -> tuple[list[LayerTensors], list[str]]:
    """(groups of layers to shuffle step by step, notes on why there are none)."""
    try:
        layers = text_model_layers(folder)
    except ExtraError as error:
        return [], [f"the model was not shuffled: {error}"]
    if not layers:
        return [], ["the model was not shuffled: a copy of its weights would need too much memory"]
    most = min(len(layers), MAX_RANDOMIZATION_STEPS)
    num = next((num for num in range(most, 0, -1) if _randomization_seconds(num, open_s, answers_s) <= limit_s), 0)
    if not num:
        return [], ["the model was not shuffled, to keep to the time limit"]
    return group_layers(layers, num), []


def _measure_text(
    explainer: TextExplainer,
    row: RowExplanation,
    masked: MaskedText,
    meter: _CountedAnswers,
    checks: FaithfulnessConfig,
    wanted_class: str | None,
) -> RowFaithfulness:
    """How far the values of the tokens of one text hold."""
    values = np.array([token["value"] for token in _part(row)["tokens"]])
    curves_of = _curve_class(explainer, masked, len(values), row.target, wanted_class)
    measures = measure_masking(meter.value, values, checks, sign=curves_of[1])
    return RowFaithfulness(
        row_id=row.row_id, prediction=row.prediction, num_players=measures.num_players, deletion=measures.deletion,
        insertion=measures.insertion, infidelity=measures.infidelity, sensitivity=None,
        agreement=second_method_agreement(meter.value, values, seed=checks.seed),
        counterfactual=_token_counterfactual(explainer, masked, meter, values, row.target), curve_class=curves_of[0],
    )  # fmt: skip


def _curve_class(
    explainer: TextExplainer, masked: MaskedText, num_tokens: int, target: str | None, wanted_class: str | None
) -> tuple[str | None, int]:
    """As curve_class() has it, for one text, whose model may also say of a single class that it does not hold."""
    if target is None or wanted_class is not None:
        return target, 1
    own = int(explainer.code(masked.logits(np.ones((1, num_tokens), bool)), target)[0])
    return (explainer.answer_text(own, target), -1) if explainer.sign(own, target) < 0 else (target, 1)


def _token_counterfactual(
    explainer: TextExplainer, masked: MaskedText, meter: _CountedAnswers, values: Float64, target: str | None
) -> CounterfactualReport | None:
    """The fewest tokens without which the class changes. None for embeddings, where the class stays, and where what is
    explained says nothing of the class answered."""
    if target is None:
        return None
    own = explainer.code(masked.logits(np.ones((1, len(values)), bool)), target)[0]
    sign = explainer.sign(int(own), target)
    if not sign:
        return None
    evidence = find_minimal_evidence(lambda masks: explainer.code(masked.logits(masks), target), sign * values)
    if evidence is None:
        return None
    places, other, count = evidence
    meter.num_classes += count
    spans = [masked.spans[place] for place in places]
    return CounterfactualReport(
        changes={TEXT_COLUMN: [masked.text, _remove_tokens(masked, places)]},
        tokens=tuple(RemovedToken(masked.text[start:end], start, end) for start, end in spans),
        from_class=explainer.answer_text(int(own), target), to_class=explainer.answer_text(other, target),
        num_predicted=count,
    )  # fmt: skip


def _remove_tokens(masked: MaskedText, places: Sequence[int]) -> str:
    """The text without the tokens at `places`, with a mark where something was.

    >>> text = MaskedText("so good, so far", [(0, 2), (3, 7), (7, 8), (9, 11)], None, False, 6, None, None)
    >>> _remove_tokens(text, [1, 2])
    'so […] so far'
    """
    pieces: list[str] = []
    at, last = 0, -2
    for place in places:
        start, end = masked.spans[place]
        if place != last + 1:
            pieces += [masked.text[at:start], _OMISSION_MARK]
        at, last = end, place
    return "".join([*pieces, masked.text[at:]])


def _randomize_text(
    explainer: TextExplainer,
    folder: Path,
    some: Sequence[tuple[RowExplanation, MaskedText]],
    blocks: Sequence[LayerTensors],
    seed: int,
) -> tuple[list[RandomizationStep], int]:
    """(how like the explanations of `some` texts are when block after block is shuffled, number of answers)."""
    some = [(row, masked) for row, masked in some if len(masked.spans) > 1]
    if not blocks or not some:
        return [], 0
    truth, count = _token_values([masked for _, masked in some])
    steps: list[RandomizationStep] = []
    names: list[str] = []
    for name, tensors in blocks:
        names += tensors
        engine = randomize_text_model(folder, names, seed=seed)
        try:
            other = explainer.with_run(engine.run)
            values, more = _token_values([other.mask_text(masked.text, row.target) for row, masked in some])
        finally:
            engine.close()
        steps.append(RandomizationStep(name, mean_magnitude_correlation(truth, values)))
        count += more
    return steps, count


def _token_values(texts: Sequence[MaskedText]) -> tuple[list[Float64], int]:
    """(what the tokens of each text add, number of answers); texts without a token are left out."""
    owens = [owen for text in texts if (owen := text.owen(RANDOMIZATION_BUDGET)) is not None]
    return [owen.values for owen in owens], sum(owen.num_evaluations for owen in owens)


def _measurement_notes(texts: Sequence[MaskedText], empty: Sequence[int | None]) -> list[str]:
    notes = [NO_SENSITIVITY_NOTE]
    sizes = [len(text.spans) for text in texts]
    if min(sizes) <= FEW_PLAYERS:
        notes.append(
            f"a text of {FEW_PLAYERS} tokens or fewer has so few orders of them that no curve of it is told from chance"
        )
    if empty:
        words = ", ".join(map(str, empty))
        notes.append(f"nothing was measured of texts without a token that could be taken away: row {words}")
    return notes
