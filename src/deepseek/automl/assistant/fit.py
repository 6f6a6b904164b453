"""Questions with their intents become an assistant: heads, pool, two judges, thresholds that are proven.

    fitted = fit_assistant(known, encoders, options)
    fitted.model, fitted.answer_bound, fitted.warnings

terms and embeddings -> heads, and what they say of held rows -> weights of the heads -> judges on held rows -> the
threshold of answering alone, proven for the stated precision, and the threshold of handing over. Where too few rows are
held to prove anything, the assistant asks back instead of answering, but for questions that it learned word for word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.assistant.bounds import PrecisionBound, choose_answer_threshold
from deepseek.automl.assistant.held import HeldHead, hold_kernel, hold_terms, intent_groups, stratified_folds
from deepseek.automl.assistant.held import term_matrix as make_term_matrix
from deepseek.automl.assistant.judge_fit import (
    MIN_JUDGED_ROWS,
    cross_fitted,
    fit_judge,
    fit_pool,
    start_pool,
)
from deepseek.automl.assistant.options import AssistantOptions
from deepseek.automl.assistant.other_topics import other_topics
from deepseek.automl.assistant.pair_fit import FittedPairs
from deepseek.automl.assistant.pair_hold import MAX_KNOWN, HeldPairs, PairReport, PairUse, hold_pairs, measure_use
from deepseek.automl.assistant.questions import KnownQuestions, split_by_scope
from deepseek.automl.assistant.scope_fit import OUTSIDE_SHARE, ScopeRows, fit_scope
from deepseek.automl.assistant.tune import TunedEncoders
from deepseek.contracts import Float32, Float64
from deepseek.engines.assistant.heads import KernelHead, TermHead
from deepseek.engines.assistant.judges import judge_signals, num_signals
from deepseek.engines.assistant.model import (
    LEAST_SCOPE,
    NEVER,
    AssistantModel,
    Encoder,
    EncoderSettings,
    HeadScores,
    Thresholds,
    known_shares,
    pool_heads,
    question_digest,
)
from deepseek.engines.assistant.pair_head import TokenEncoder
from deepseek.engines.assistant.terms import TermWeights
from deepseek.errors import CheckError
from deepseek.train.detect.miss_bound import choose_threshold

HELD_FOLDS, CALIBRATION_ROWS = "held folds of the questions that it learned", "the rows of --calibrate"
MAX_QUESTIONS = 20_000  # that are learned: 1.6 GB for each matrix of their likeness


@dataclass(frozen=True, eq=False)
class HeldRows:
    """Signals of rows that were not learned: of held questions, and of three kinds of questions out of scope."""

    labels: NDArray[np.int64]  # (N,) of the held questions
    inside: Float64  # (N, S) signals
    beyond: ScopeRows  # those out of scope
    is_right: NDArray[np.bool_]  # (N,) whether the pool's first intent is the right one
    is_near: NDArray[np.bool_]  # (N,) whether it is among the first three


@dataclass(frozen=True, eq=False)
class FittedAssistant:
    """An assistant, and what is known of it."""

    model: AssistantModel
    encoders: Mapping[str, Encoder]
    held: HeldRows
    answer_bound: PrecisionBound | None  # None: nothing could be proven, so it never answers alone
    warnings: tuple[str, ...]
    rows: str = HELD_FOLDS  # what judges and thresholds were set on, in words
    pairs: PairReport | None = None  # of a judge of pairs of questions, where there is one


@dataclass(frozen=True, eq=False)
class HeldHeads:
    """The heads of an assistant, and what they say of rows that were held from them."""

    labels: NDArray[np.int64]  # (N,) place of each question's intent
    groups: list[NDArray[np.int64]]  # rows of each group of intents that was left out
    terms: TermWeights
    heads: Mapping[str, HeldHead]  # by encoder, "" for the terms
    pairs: HeldPairs | None = None  # where they help
    pair_report: PairReport | None = None


def fit_assistant(
    known: KnownQuestions,
    encoders: Mapping[str, Encoder],
    options: AssistantOptions,
    *,
    tuned: TunedEncoders | None = None,
    calibration: Sequence[tuple[str, str]] = (),
    pairs: FittedPairs | None = None,
) -> FittedAssistant:
    """`known` as limit_questions() gives it; `encoders` by name, in their order; `tuned`: encoders that learned the
    same rows; `calibration`: (question, intent) that teach no head, for judges and thresholds in place of the held
    folds; `pairs`: a judge of pairs, which reads the first encoder: that one gives the states of its tokens."""
    held = hold_heads(known, encoders, options)
    if pairs is not None:
        options.tell("pairs of held questions", 0.75)
        held = _with_pairs(held, known, encoders, pairs, options, [] if tuned is None else [tuned.held])
    options.tell("judges", 0.8)
    return fit_judges(known, held, encoders, options, tuned=tuned, calibration=calibration)


def hold_heads(known: KnownQuestions, encoders: Mapping[str, Encoder], options: AssistantOptions) -> HeldHeads:
    """Fit every head, whole and without each fold of rows and each group of intents."""
    names, questions = known.names, known.questions
    labels = np.searchsorted(np.array(names, object), np.array(known.intents, object)).astype(np.int64)
    folds = stratified_folds(labels, options.num_folds, options.seed)
    groups = intent_groups(labels, options.num_folds, options.seed)
    terms = TermWeights.fit(questions)
    options.tell("words and letters", 0.1)
    heads = {"": hold_terms(make_term_matrix(terms, questions), labels, len(names), folds, groups)}
    for place, (name, encoder) in enumerate(encoders.items()):
        options.tell(f"embeddings of {name}", 0.2 + 0.5 * place / len(encoders))
        heads[name] = hold_kernel(encoder.embed(questions), labels, len(names), folds, groups)
    return HeldHeads(labels, groups, terms, heads)


def _with_pairs(
    held: HeldHeads, known: KnownQuestions, encoders: Mapping[str, Encoder], pairs: FittedPairs,
    options: AssistantOptions, others: Sequence[Float32],
) -> HeldHeads:  # fmt: skip
    """The heads with the judge of pairs beside them, where held questions say that it helps. `others`: held scores of
    encoders that were tuned."""
    name = pairs.judge.settings.encoder
    kernel = held.heads[name].head
    assert isinstance(kernel, KernelHead)  # noqa: S101
    head: HeldPairs | None = None
    use = PairUse(False, 0, 0, 0, 0, 0, f"more than {MAX_KNOWN} questions are known: too many to try it")
    if len(known.questions) <= MAX_KNOWN:
        folds = stratified_folds(held.labels, options.num_folds, options.seed)
        reader = cast("TokenEncoder", encoders[name])
        head = hold_pairs(pairs.judge, reader, kernel, known.questions, folds, held.groups)
        scores = [each for one in held.heads.values() for each in one.inside]
        use = measure_use([*scores, *others], head.inside, held.labels)
    report = PairReport(pairs.figures, pairs.num_learned, use)
    return replace(held, pairs=head if use.helps else None, pair_report=report)


def limit_questions(known: KnownQuestions, most: int = MAX_QUESTIONS) -> KnownQuestions:
    """At most so many questions, those of an intent beside each other and the intents rising: what is fitted is as
    large as the square of their number. Of more, as many are kept of each intent as of the others, where it has them.
    """
    order = sorted(range(len(known.questions)), key=lambda row: known.intents[row])
    warnings = known.warnings
    if len(order) > most:
        place_of: Counter[str] = Counter()
        rank = {}
        for row in order:
            rank[row] = place_of[known.intents[row]]
            place_of[known.intents[row]] += 1
        order = sorted(sorted(order, key=rank.__getitem__)[:most], key=lambda row: (known.intents[row], row))
        warnings = (*warnings, f"{most} of {len(known.questions)} questions are learned, the first of each intent")
    return replace(
        known, questions=tuple(known.questions[row] for row in order),
        intents=tuple(known.intents[row] for row in order), warnings=warnings,
    )  # fmt: skip


def _draft_model(known: KnownQuestions, held: HeldHeads, tuned: TunedEncoders | None) -> AssistantModel:
    """The heads, with equal weights, judges that repeat the pool, and no threshold."""
    kernel_heads = {name: each.head for name, each in held.heads.items() if isinstance(each.head, KernelHead)}
    settings = [EncoderSettings(name, f"encoders/{name}", head.gamma) for name, head in kernel_heads.items()] + [
        EncoderSettings(name, f"encoders/{name}", 0.0, is_tuned=True) for name in (tuned.encoders if tuned else ())
    ]
    num_heads = 1 + 2 * len(kernel_heads) + (tuned is not None) + (held.pairs is not None)
    flat = fit_judge(np.zeros((0, num_signals(num_heads))), np.zeros(0, bool))
    term_head = held.heads[""].head
    assert isinstance(term_head, TermHead)  # noqa: S101
    return AssistantModel(
        known.names, known.answers, held.terms, term_head, tuple(settings), kernel_heads, tuned.heads if tuned else {},
        start_pool(num_heads), flat, flat, Thresholds(NEVER, 0.0), _exact_questions(known),
        None if held.pairs is None else held.pairs.head,
    )  # fmt: skip


def _exact_questions(known: KnownQuestions) -> dict[str, str]:
    """Intent by the digest of each question; none for one that stands under several intents."""
    names_by_digest: dict[str, set[str]] = {}
    for question, name in zip(known.questions, known.intents, strict=True):
        names_by_digest.setdefault(question_digest(question), set()).add(name)
    return {digest: next(iter(names)) for digest, names in names_by_digest.items() if len(names) == 1}


def fit_judges(
    known: KnownQuestions, held_heads: HeldHeads, encoders: Mapping[str, Encoder], options: AssistantOptions, *,
    tuned: TunedEncoders | None = None, calibration: Sequence[tuple[str, str]] = (),
) -> FittedAssistant:  # fmt: skip
    """Pool, judges and thresholds by the held scores. Parameters as those of fit_assistant()."""
    labels = held_heads.labels
    draft = _draft_model(known, held_heads, tuned)
    all_inside = [scores for head in held_heads.heads.values() for scores in head.inside]
    all_hidden = [scores for head in held_heads.heads.values() for scores in head.hidden]
    if tuned is not None:
        all_inside.append(tuned.held)
        all_hidden.append(_without_own_group(tuned.held, labels, held_heads.groups))
        encoders = {**encoders, **tuned.encoders}
    if held_heads.pairs is not None:
        all_inside.append(held_heads.pairs.inside)
        all_hidden.append(held_heads.pairs.hidden)
    rows = np.flatnonzero(np.isfinite(all_inside[0]).all(axis=1))
    inside = [each[rows] for each in all_inside]
    warnings = list(known.warnings)
    if len(rows) >= MIN_JUDGED_ROWS:
        draft = replace(draft, pool=fit_pool(inside, labels[rows]))
    words = known_shares(draft.terms, known.questions)
    within = HeadScores(tuple(inside), words[rows])
    within_labels, outside = labels[rows], known.out_of_scope
    if calibration:
        inner, outer = split_by_scope(calibration)
        places = {name: place for place, name in enumerate(draft.intents)}
        within = draft.score_heads([question for question, _ in inner], encoders)
        within_labels = np.array([places.get(name, -1) for _, name in inner], np.int64)
        outside = (*outside, *outer)
    hidden = HeadScores(tuple(all_hidden), words)
    topics = other_topics(known.questions)
    said = [draft.score_heads(texts, encoders) if texts else None for texts in (outside, topics)]
    held = _held_rows(draft, within, within_labels, [hidden, *said])
    model = replace(draft, right=fit_judge(held.inside, held.is_right), scope=fit_scope(held.inside, held.beyond))
    scope_threshold = _scope_threshold(model, held, options, warnings)
    bound = _answer_bound(model, held, scope_threshold, options, warnings)
    thresholds = Thresholds(NEVER if bound is None else bound.threshold, scope_threshold)
    return FittedAssistant(
        replace(model, thresholds=thresholds), encoders, held, bound, tuple(warnings),
        CALIBRATION_ROWS if calibration else HELD_FOLDS, held_heads.pair_report,
    )  # fmt: skip


def _held_rows(
    draft: AssistantModel, within: HeadScores, labels: NDArray[np.int64], beyond: Sequence[HeadScores | None]
) -> HeldRows:
    """Signals of held rows, and of those `beyond` the scope: intents left out, given as out of scope, other topics."""
    pool = draft.pool

    def signals(said: HeadScores | None) -> Float64:
        if said is None or not len(said.known):
            return np.zeros((0, num_signals(len(pool))))
        return judge_signals(said.heads, pool_heads(said.heads, pool), said.known)

    pooled = pool_heads(within.heads, pool) if len(labels) else np.zeros((0, len(draft.intents)))
    return HeldRows(labels, signals(within), ScopeRows(*map(signals, beyond)), *_ranks(pooled, labels))


def _ranks(pooled: Float64, labels: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether the right intent is the first, and whether it is among the first three."""
    own = pooled[np.arange(len(labels)), labels]
    rank = (pooled > own[:, None]).sum(axis=1)
    is_known = labels >= 0  # an intent that calibration rows name and nothing was learned of
    return (rank == 0) & is_known, (rank < 3) & is_known


def _scope_threshold(model: AssistantModel, held: HeldRows, options: AssistantOptions, warnings: list[str]) -> float:
    """The highest threshold that keeps the stated share of questions in scope, at most 1 - OUTSIDE_SHARE: a question
    that is likelier in scope than the judge takes any question for is not handed over, though a judge that parts both
    well would allow it. 0 where too few are held."""
    try:
        bound = choose_threshold(model.scope.probabilities(held.inside), 1 - options.keep, options.confidence)
    except CheckError:
        warnings.append(
            f"{len(held.inside)} held questions are too few to prove that {100 * options.keep:g} % of those in scope "
            "are kept: no question is handed over for being out of scope, unless it has no word"
        )
        return 0.0
    return min(bound.threshold, 1 - OUTSIDE_SHARE)


def _answer_bound(
    model: AssistantModel, held: HeldRows, scope_threshold: float, options: AssistantOptions, warnings: list[str]
) -> PrecisionBound | None:
    """The threshold of answering alone. Judged are the held questions, each by a judge that has not seen it; those that
    would be handed over are never answered."""
    sure = cross_fitted(held.inside, held.is_right, options.seed) if len(held.labels) else np.zeros(0)
    in_scope = model.scope.probabilities(held.inside)
    sure = np.where(in_scope >= max(scope_threshold, LEAST_SCOPE), sure * in_scope, -1.0)
    try:
        bound = choose_answer_threshold(sure, held.is_right, precision=options.precision, confidence=options.confidence)
    except CheckError as error:
        warnings.append(f"it asks back instead of answering, but for questions that it learned word for word: {error}")
        return None
    return bound if bound.threshold >= 0 else replace(bound, threshold=0.0)


def _without_own_group(scores: Float32, labels: NDArray[np.int64], groups: Sequence[NDArray[np.int64]]) -> Float32:
    """Scores (N, C) as if the intents of a row's own group were unknown."""
    hidden = scores.copy()
    for group in groups:
        hidden[np.ix_(group, np.unique(labels[group]))] = scores.min()
    return hidden
