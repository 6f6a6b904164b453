"""The whole way from a log to ranked causes: kinds of bad rows, slices of one field, slices of two, and what is left.

A slice is a cause when it is worse than its own past, by more than its own past varies, and beyond what is found by
chance among all slices that were looked at. Causes that say the same in other words stand together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deepseek.observe.reading.tables import Logs
from deepseek.observe.system.events import SYSTEM_FIELD
from deepseek.observe.why.badness import Badness, list_badness
from deepseek.observe.why.coding import CodedField
from deepseek.observe.why.counting import KindCounter
from deepseek.observe.why.sampling import Sample, take_sample
from deepseek.observe.why.scoring import SliceCounts, SliceScores, bound_false_discoveries, score_slices
from deepseek.observe.why.slices import Condition, FieldSlices, list_slices
from deepseek.observe.why.windows import Window, WindowChoice, choose_window

FALSE_DISCOVERY_SHARE = 0.01
MIN_EXCESS = 5.0  # bad rows beyond what is expected
MIN_ODDS_RATIO = 1.5  # of a slice's rate to its past
ALL_SHARE = 0.95  # a slice of more rows of the window and of the past tells nothing apart
MOST_SHARE = 0.8  # of the rows, from which a slice must explain more than everything does
NUM_SEEDS = 10  # best slices of different fields that are looked at with a second condition
SEED_SHARE = 0.2  # of the best one's score
PAIR_ADVANTAGE = 1.15  # a pair explains so many times what its better half does, or it is none
#: What need not be wrong by itself counts for little beside what is.
SOFT_KINDS, SOFT_WEIGHT = frozenset(["unsure", "flagged", "answer", "value"]), 0.02
ECHO_SHARE = 0.15  # of its score that a slice keeps without the rows of another, or it is an echo of it
MAX_VALUES_TOLD = 6  # of one field and kind
END_PENALTY = 1.0  # nats, of each end of a range
NEARLY_AS_GOOD = 0.6
MAX_CAUSES = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """A slice and one kind of bad row. Rates are shares of the slice's rows; by_share: its rows became more."""

    badness: Badness
    num_rows: float
    num_bad: float
    all_bad: float  # in the window, of all rows
    rate: float
    past_rate: float
    share: float  # of the window's rows
    past_share: float
    score: float  # nats
    p_value: float
    excess: float
    by_share: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """One or two conditions that hold together, and what they explain, the kind that they explain most of first. No
    condition: everything became worse at once. `echo_of`: the number of a cause before it that explains the same
    rows."""

    conditions: tuple[Condition, ...]
    evidence: tuple[Evidence, ...]
    score: float
    began_s: float | None = None  # when it began, since 1970; None: before the window, or nothing that can be seen
    echo_of: int | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    window: Window
    kinds: tuple[Badness, ...]
    causes: tuple[Cause, ...]
    num_slices: int  # that were looked at
    num_fields: int
    columns: tuple[str, ...] = field(default=())
    now_s: float | None = None  # rows that are later were left out; None: there is no such moment
    is_chosen: bool = False  # whether the user said what is bad


@dataclass(frozen=True, slots=True)
class _Candidate:
    conditions: tuple[Condition, ...]
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class _Group:
    """The slices of one field, or of one field beside a seed, and one kind: those that are worth telling, and the
    probability that chance made the best one of all."""

    candidates: list[_Candidate]
    p_value: float
    num_slices: int


def find_causes(logs: Logs, choice: WindowChoice, *, bad: str | None = None) -> Findings:
    """The causes of what is bad in a window, the best explanation first. InputError for windows with too few rows."""
    window = choose_window(logs, choice)
    kinds = list_badness(logs, window, bad)
    sample = take_sample(logs, window, kinds)
    slices = [list_slices(each) for each in sample.fields]
    candidates, p_values, num_slices = [], [], 0
    for kind in kinds:
        counter = KindCounter(sample, sample.bad[kind.sql])
        if counter.bad_totals[-1] < MIN_EXCESS:
            continue
        groups = list(_search_kind(sample, slices, counter, kind))
        candidates += _without_near_everything(groups)
        p_values += [group.p_value for group in groups]
        num_slices += sum(group.num_slices for group in groups)
    limit = bound_false_discoveries(np.array(p_values), FALSE_DISCOVERY_SHARE)
    causes = _rank([each for each in candidates if each.evidence.p_value <= limit])
    causes = _mark_echoes(sample, causes)
    columns = tuple(logs.columns)
    now_s = choice.now_s if math.isfinite(choice.now_s) and choice.until_s is None else None
    return Findings(
        window, tuple(kinds), tuple(causes), num_slices, len(sample.fields), columns, now_s, bad is not None
    )


def _search_kind(
    sample: Sample, slices: Sequence[FieldSlices], counter: KindCounter, kind: Badness
) -> Iterator[_Group]:
    """Candidates and the probabilities of all slices: everything, single conditions, pairs."""
    everything = counter.everything()
    scores = score_slices(everything)
    yield _make_group([()], everything, scores, kind, np.arange(1))
    best: list[tuple[float, int, int]] = []
    alone: list[NDArray[np.float64]] = []  # the scores of each field's slices by themselves
    for index, (field_, each) in enumerate(zip(sample.fields, slices, strict=True)):
        alone.append(np.zeros(len(each.conditions)))
        if field_.name in kind.columns:
            continue
        counts = counter.slices(field_, each)
        scores = score_slices(counts)
        alone[-1] = scores.plain
        chosen = np.flatnonzero(_is_worth_telling(counts, scores))
        if len(chosen):
            preference = scores.score - END_PENALTY * each.num_ends
            most = MAX_VALUES_TOLD if field_.kind == "category" else 1  # ranges of one field say the same
            chosen = chosen[np.argsort(-preference[chosen], kind="stable")][:most]
            if field_.kind == "second":
                chosen = np.array(
                    [slice_ for slice_ in chosen if counter.recurs(each.masks[slice_][field_.codes])], int
                )
            best += [(float(scores.plain[slice_]), index, int(slice_)) for slice_ in chosen[:2]]
        conditions = [(condition,) for condition in each.conditions]
        yield _make_group(conditions, counts, scores, kind, chosen)
    best.sort(reverse=True)
    for score, index, slice_ in best[:NUM_SEEDS]:
        if score < SEED_SHARE * best[0][0]:
            break
        yield from _search_pairs(sample, slices, counter, kind, (score, index, slice_), alone)


def _without_near_everything(groups: Sequence[_Group]) -> list[_Candidate]:
    """The candidates of a kind, but those that most rows of the window and of the past have and that explain no more
    than everything does: the best of so many slices leaves some good rows out by chance."""
    candidates = [each for group in groups for each in group.candidates]
    everything = next((each.evidence.score for each in candidates if not each.conditions), None)
    if everything is None:
        return candidates
    limit = everything + math.log(sum(group.num_slices for group in groups))
    return [
        each
        for each in candidates
        if not each.conditions or each.evidence.score > limit
        or min(each.evidence.share, each.evidence.past_share) < MOST_SHARE
    ]  # fmt: skip


def _search_pairs(
    sample: Sample,
    slices: Sequence[FieldSlices],
    counter: KindCounter,
    kind: Badness,
    seed: tuple[float, int, int],
    alone: Sequence[NDArray[np.float64]],
) -> Iterator[_Group]:
    """A second condition beside the seed (its score, field and slice), with which it explains much more than either
    does `alone`."""
    score, index, slice_ = seed
    first = slices[index].conditions[slice_]
    rows = counter.rows[slices[index].masks[slice_][sample.fields[index].codes[counter.rows]]]
    for other, (field_, each) in enumerate(zip(sample.fields, slices, strict=True)):
        if other == index or field_.name in kind.columns or _is_one_moment(sample.fields[index], field_):
            continue
        counts = counter.slices(field_, each, rows)
        scores = score_slices(counts)
        better_half = np.maximum(score, alone[other])
        worth = _is_worth_telling(counts, scores)
        worth &= scores.plain > PAIR_ADVANTAGE * better_half + np.log(len(sample.fields))
        chosen = np.flatnonzero(worth)
        if len(chosen):
            chosen = chosen[np.argsort(-scores.score[chosen], kind="stable")][:1]
            if field_.kind == "second" and not counter.recurs(each.masks[chosen[0]][field_.codes], rows):
                chosen = chosen[:0]
        conditions = [(first, condition) for condition in each.conditions]
        num_tried = len(slices[index].conditions) * len(sample.fields)  # the seed is the best of so many
        yield _make_group(conditions, counts, scores, kind, chosen, num_tried)


def _is_one_moment(one: CodedField, other: CodedField) -> bool:
    """Whether a system event stands beside the second of the minute: it has a moment of its own."""
    kinds = {one.kind, other.kind}
    return "second" in kinds and SYSTEM_FIELD in (one.name, other.name)


def _is_worth_telling(counts: SliceCounts, scores: SliceScores) -> NDArray[np.bool_]:
    """Whether a slice is worse by enough to matter, whatever chance says."""
    observed = np.clip(counts.num_bad / np.maximum(counts.num_rows, 1e-9), 0, 1 - 1e-9)
    odds = observed / (1 - observed)
    past_odds = scores.past_rate / np.maximum(1 - scores.past_rate, 1e-9)
    worse = (odds >= MIN_ODDS_RATIO * past_odds) | scores.by_share
    nearly_all = (counts.num_rows > ALL_SHARE * counts.all_rows) & (
        counts.past_rows.sum(axis=1) > ALL_SHARE * counts.all_past_rows.sum()
    )
    is_everything = len(counts.num_rows) == 1
    return np.asarray(worse & (scores.excess >= MIN_EXCESS) & (scores.score > 0) & (~nearly_all | is_everything))


def _make_group(
    conditions: Sequence[tuple[Condition, ...]], counts: SliceCounts, scores: SliceScores, kind: Badness,
    chosen: NDArray[np.int64], num_tried: int = 1,
) -> _Group:  # fmt: skip
    """The group of these slices, of which some are `chosen`. Their probabilities are those of the best of all slices
    (Bonferroni): ranges overlap, and many of them would count as many discoveries of one chance."""
    p_values = np.minimum(1.0, scores.p_value * len(conditions) * num_tried)
    past_total = max(1.0, float(counts.all_past_rows.sum()))
    worth = _is_worth_telling(counts, scores)
    candidates = [
        _Candidate(
            conditions[row],
            Evidence(
                kind, float(counts.num_rows[row]), float(counts.num_bad[row]), counts.all_bad,
                float(counts.num_bad[row] / counts.num_rows[row]), float(scores.past_rate[row]),
                float(counts.num_rows[row] / counts.all_rows), float(counts.past_rows[row].sum() / past_total),
                float(scores.score[row]), float(p_values[row]), float(scores.excess[row]),
                bool(scores.by_share[row]),
            ),
        )
        for row in chosen.tolist()
        if worth[row]
    ]  # fmt: skip
    return _Group(candidates, float(p_values.min(initial=1.0)), len(conditions))


def _rank(candidates: Sequence[_Candidate]) -> list[Cause]:
    """One cause for each field or pair of fields: what the kinds of bad rows say of it is added up."""
    groups: dict[tuple[tuple[str, str], ...], list[_Candidate]] = {}
    for each in sorted(candidates, key=lambda each: -each.evidence.score):
        key = tuple(sorted(condition.key for condition in each.conditions))
        groups.setdefault(key, []).append(each)
    is_hard = any(each.evidence.badness.kind not in SOFT_KINDS for each in candidates)
    soft_weight = SOFT_WEIGHT if is_hard else 1.0
    causes = []
    for group in groups.values():
        by_kind = {each.evidence.badness.sql: each.evidence for each in reversed(group)}
        evidence = sorted(by_kind.values(), key=lambda each: -each.score)
        score = sum(each.score * (soft_weight if each.badness.kind in SOFT_KINDS else 1.0) for each in evidence)
        causes.append(Cause(group[0].conditions, tuple(evidence), score))
    causes.sort(key=lambda cause: -cause.score)
    kept: list[Cause] = []
    for cause in causes:  # of one field the best condition, and pairs only where they say more than what is there
        names = {condition.field for condition in cause.conditions}
        if not any(names == {condition.field for condition in other.conditions} for other in kept):
            kept.append(cause)
    return kept[: 2 * MAX_CAUSES]


def _mark_echoes(sample: Sample, causes: Sequence[Cause]) -> list[Cause]:
    """The causes, those that explain nothing without the rows of one before them marked as its echo, where they explain
    nearly as much, and left out where they explain less. So is what is hardly worse than its past without the rows of
    all causes before it: a wide slice holds most of what went wrong in a narrow one."""
    marked: list[Cause] = []
    explained = np.zeros(len(sample.part), np.bool_)  # rows of the causes so far that are no echoes
    for cause in causes[: 2 * MAX_CAUSES]:
        rows = cause_rows(sample, cause)
        bad = sample.bad[cause.evidence[0].badness.sql] == 1
        mine = rows & bad & sample.in_window
        echo = None
        for number, other in enumerate(marked, start=1):
            left = mine & ~cause_rows(sample, other)
            if sample.weight[left].sum() <= ECHO_SHARE * sample.weight[mine].sum() + cause.evidence[0].past_rate:
                echo = number
                break
        if echo is not None and cause.score < NEARLY_AS_GOOD * marked[echo - 1].score:
            continue
        if echo is None and explained.any() and _is_explained(sample, cause, rows & ~explained, bad):
            continue
        if echo is None:
            explained |= rows
        began_s = _find_beginning(sample, mine, rows & sample.in_window)
        marked.append(replace(cause, echo_of=echo, began_s=began_s))
    return marked[:MAX_CAUSES]


def _is_explained(sample: Sample, cause: Cause, rows: NDArray[np.bool_], bad: NDArray[np.bool_]) -> bool:
    """Whether these rows of a cause (N,), without those that others explain, say too little by themselves. What became
    more frequent is no worse by itself, and is not asked."""
    evidence = cause.evidence[0]
    if evidence.by_share:
        return False
    weight = sample.weight[rows & sample.in_window]
    num_rows, num_bad = weight.sum(), sample.weight[rows & bad & sample.in_window].sum()
    rate = np.array(num_bad / num_rows if num_rows else 0.0)
    gain = float(num_rows * _divergence(rate, evidence.past_rate)) if rate > evidence.past_rate else 0.0
    return gain <= ECHO_SHARE * evidence.score


def cause_rows(sample: Sample, cause: Cause) -> NDArray[np.bool_]:
    """Which rows of the sample (N,) have all conditions of a cause."""
    rows = np.ones(len(sample.part), np.bool_)
    for condition in cause.conditions:
        coded = next(each for each in sample.fields if each.name == condition.field)
        slices = list_slices(coded)
        rows &= slices.masks[slices.conditions.index(condition)][coded.codes]
    return rows


def _find_beginning(sample: Sample, bad: NDArray[np.bool_], rows: NDArray[np.bool_]) -> float | None:
    """When the rate of bad rows rose, if it did so within the window: the time that splits its rows best in two."""
    order = np.flatnonzero(rows)
    order = order[np.argsort(sample.time_s[order], kind="stable")]
    if len(order) < 20:
        return None
    weight = sample.weight[order]
    is_bad = weight * bad[order]
    before_rows, before_bad = np.cumsum(weight)[:-1], np.cumsum(is_bad)[:-1]
    after_rows, after_bad = weight.sum() - before_rows, is_bad.sum() - before_bad
    rate = is_bad.sum() / weight.sum()
    gain = before_rows * _divergence(before_bad / before_rows, rate) + after_rows * _divergence(
        after_bad / after_rows, rate
    )
    gain[before_bad / before_rows >= after_bad / after_rows] = 0.0
    place = int(gain.argmax())
    return float(sample.time_s[order[place + 1]]) if gain[place] > 8.0 else None


def _divergence(share: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    share, rate = np.clip(share, 1e-12, 1 - 1e-12), min(max(rate, 1e-12), 1 - 1e-12)
    result: NDArray[np.float64] = share * np.log(share / rate) + (1 - share) * np.log((1 - share) / (1 - rate))
    return result
