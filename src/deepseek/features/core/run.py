"""Events and verdicts, one after the other: `score_events` and `label_events`.

They are compiled once for each source of this folder, and kept by numba in its cache. Numba itself looks at the age of
the one file alone in which a function stands.
"""

from __future__ import annotations

from typing import Any

from deepseek.features.core.answers import compute_event_feature, compute_key_feature
from deepseek.features.core.blocks import copy_row, find_or_add_slot, find_slot, hash_code, make_room
from deepseek.features.core.compilation import SOURCE, compile_cached, compile_inline
from deepseek.features.core.hidden import answer_hidden
from deepseek.features.core.ids import answer_known, find_id, forget_ids, make_entry
from deepseek.features.core.layout import (
    ACCEPTED,
    AHEAD,
    ANSWERS,
    ANSWERS_TAIL,
    BAD_AMOUNT,
    BAD_TIME,
    CODE,
    END,
    EVENTS,
    GROUP,
    HEAD,
    KEY_FULL,
    LABEL_LATE,
    LATE,
    LATEST,
    MAX_EVENTS,
    NEED,
    NEVER,
    NOTHING,
    NUM_COUNTERS,
    NUM_SLOTS,
    NUM_STATUSES,
    ROW_MASK,
    START,
    STATE_ODDS,
    TAG_BITS,
    TAG_MASK,
    TAIL,
    UNKNOWN_ID,
    WATERMARK,
    State,
)
from deepseek.features.core.windows import advance_windows, keep_event, read_record_at, set_verdict


@compile_inline
def check_event(plan: Any, state: State, time: int, amount: int) -> int:
    """Whether an event can be accepted, as far as its own values say."""
    watermark = state.counters[WATERMARK]
    if time == NEVER:
        return BAD_TIME
    if amount < 0:
        return BAD_AMOUNT
    if watermark != NEVER and time < watermark - plan.lateness:
        return LATE
    return AHEAD if watermark != NEVER and time > watermark + plan.ahead else ACCEPTED


@compile_inline
def prepare_keys(plan: Any, state: State, time: int, keys: Any, slots: Any) -> int:
    """Finds the slot of each key, moves its windows on to `time` and makes room for one event."""
    for group in range(len(keys)):
        slot = find_or_add_slot(state, keys[group], group)
        slots[group] = slot
        if slot < 0:
            return ACCEPTED  # NEED says what is too small
        if time >= state.longs[slot, LATEST]:
            advance_windows(plan, state, slot, group, time)
        if state.words[slot, END] - state.words[slot, START] >= MAX_EVENTS:
            return KEY_FULL
        if not make_room(plan, state, slot):
            return ACCEPTED
    return ACCEPTED


@compile_inline
def compute_answer(plan: Any, state: State, time: int, amount: int, slots: Any, answer: Any) -> None:
    """Every feature of one event whose keys are at `slots`, into `answer` (F,)."""
    computed = -1  # the last key whose windows were read at `time`
    for column in range(len(plan.features)):
        kind, group, window = plan.features[column, 0], plan.features[column, 1], plan.features[column, 2]
        if group < 0:
            answer[column] = compute_event_feature(plan, kind, time, amount)
            continue
        if kind >= STATE_ODDS:
            answer[column] = plan.hidden.answers[kind - STATE_ODDS]
            continue
        slot = slots[group]
        if time < state.longs[slot, LATEST]:
            if computed != group:
                read_record_at(plan, state, slot, group, time)
                computed = group
            slot = group
        answer[column] = compute_key_feature(plan, state, kind, slot, group, window, time, amount)


@compile_inline
def score_event(
    plan: Any, state: State, time: int, amount: int, keys: Any, identity: int, slots: Any, answer: Any
) -> int:
    """The status of one event, and its answer; where NEED is set nothing was done that counts."""
    counters = state.counters
    place = find_id(state, identity)
    if place >= 0:
        return answer_known(state, place, answer)
    status = check_event(plan, state, time, amount)
    if status != ACCEPTED:
        return status
    if counters[HEAD] - counters[TAIL] >= len(state.ids):
        counters[NEED] = EVENTS
        return ACCEPTED
    if counters[HEAD] - counters[ANSWERS_TAIL] >= len(state.answers):
        counters[NEED] = ANSWERS
        return ACCEPTED
    status = prepare_keys(plan, state, time, keys, slots)
    if status != ACCEPTED or counters[NEED] != NOTHING:
        return status
    if plan.hidden.is_on:
        answer_hidden(plan.hidden, state.arena, state.words, state.longs, slots, time, amount)
    compute_answer(plan, state, time, amount, slots, answer)
    value = (amount << (TAG_BITS + 1)) | ((hash_code(identity, 1) & TAG_MASK) << 1)
    for group in range(len(keys)):
        note = plan.hidden.notes[1 if group == plan.hidden.terminal else 0]
        keep_event(plan, state, slots[group], group, time, value, note)
    row = counters[HEAD] & (len(state.ids) - 1)
    state.ids[row], state.times[row] = identity, time
    copy_row(slots, state.slots[row])
    state.id_table[-1 - place] = make_entry(identity, row)
    copy_row(answer, state.answers[counters[HEAD] & (len(state.answers) - 1)])
    counters[HEAD] += 1
    if time > counters[WATERMARK]:
        counters[WATERMARK] = time
        forget_ids(plan, state)
    return ACCEPTED


@compile_inline
def label_event(plan: Any, state: State, identity: int, fraud: int, now: int) -> int:
    """The status of a verdict that came at `now`, on an event by its id."""
    place = find_id(state, identity)
    if place < 0:
        return UNKNOWN_ID
    event = (state.id_table[place] & ROW_MASK) - 1
    if state.times[event] + plan.label_horizon <= now:
        return LABEL_LATE
    tag = hash_code(identity, 1) & TAG_MASK
    for group in range(len(plan.num_windows)):
        if plan.has_labels[group]:
            set_verdict(plan, state, state.slots[event, group], group, state.times[event], tag, fraud)
    return ACCEPTED


def _make_score_events(source: str) -> Any:
    @compile_cached
    def score_events(
        plan: Any,
        state: State,
        time: Any,
        amount: Any,
        keys: Any,
        ids: Any,
        first: int,
        slots: Any,
        answers: Any,
        status: Any,
    ) -> int:
        """Events `first` to the last, one after the other; stops before one for which the state has no room (NEED).

        time, amount, ids (N,) and keys (N, K) int64; answers (N, F) float64, left as they are of an event that is
        refused; status (N,) int8; slots (K,) int32 for its own use.
        """
        source  # noqa: B018  of the cache's key
        for row in range(first, len(time)):
            one = score_event(plan, state, time[row], amount[row], keys[row], ids[row], slots, answers[row])
            if state.counters[NEED] != NOTHING:
                return row
            status[row] = one
            state.counters[NUM_COUNTERS + one] += 1
        return len(time)

    return score_events


def _make_label_events(source: str) -> Any:
    @compile_cached
    def label_events(plan: Any, state: State, ids: Any, fraud: Any, time: int, status: Any) -> None:
        """Verdicts on events by their ids: ids, fraud (N,) int64, status (N,) int8; `time`: when they came, ticks."""
        source  # noqa: B018
        now = max(time, state.counters[WATERMARK])
        for row in range(len(ids)):
            status[row] = label_event(plan, state, ids[row], fraud[row], now)
            state.counters[NUM_COUNTERS + NUM_STATUSES + status[row]] += 1

    return label_events


def _make_locate_ids(source: str) -> Any:
    @compile_cached
    def locate_ids(state: State, ids: Any, rows: Any) -> None:
        """The row of each id in the ring of ids, -1 where it is not known: ids, rows (N,) int64."""
        source  # noqa: B018
        for number in range(len(ids)):
            place = find_id(state, ids[number])
            rows[number] = -1 if place < 0 else (state.id_table[place] & ROW_MASK) - 1

    return locate_ids


def _make_index_ids(source: str) -> Any:
    @compile_cached
    def index_ids(state: State) -> None:
        """Fills an empty table of ids."""
        source  # noqa: B018
        for number in range(state.counters[TAIL], state.counters[HEAD]):
            row = number & (len(state.ids) - 1)
            state.id_table[-1 - find_id(state, state.ids[row])] = make_entry(state.ids[row], row)

    return index_ids


def _make_index_keys(source: str) -> Any:
    @compile_cached
    def index_keys(state: State, num_groups: int) -> None:
        """Fills an empty table of keys."""
        source  # noqa: B018
        for slot in range(num_groups, state.counters[NUM_SLOTS]):
            if state.words[slot, GROUP] >= 0:
                place = find_slot(state, state.longs[slot, CODE], state.words[slot, GROUP])
                state.table[-1 - place] = slot

    return index_keys


score_events = _make_score_events(SOURCE)
label_events = _make_label_events(SOURCE)
locate_ids = _make_locate_ids(SOURCE)
index_ids = _make_index_ids(SOURCE)
index_keys = _make_index_keys(SOURCE)
