"""Asking and telling: nothing that was told is lost, and what cannot be is refused."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
from deepseek.automl.study.log import LOG_NAME, Entry, open_log, read_log
from deepseek.automl.study.propose import propose
from deepseek.automl.study.study import Outcome, Study
from deepseek.automl.study.trials import best_trial, pareto_front
from deepseek.errors import DeepseekError, InputError, MalformedError, MissingError

FILE = """
[[parameters]]
name = "a"
low = 0
high = 10

[[parameters]]
name = "tool"
choices = ["x", "y"]

[[objectives]]
name = "yield"

[[constraints]]
name = "wear"
most = 8
"""


def make(folder: Path, text: str = FILE) -> Study:
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return Study.open(folder)


def measure(recipe: object) -> dict[str, float]:
    a, is_y = float(recipe["a"]), recipe["tool"] == "y"  # type: ignore[index]
    return {"yield": 10 - (a - 6) ** 2 / 5 + is_y, "wear": a}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make(tmp_path / "line")


def test_what_is_asked_and_told_is_read_back(study: Study) -> None:
    for _ in range(6):
        for trial in study.ask(2):
            study.tell(trial.number, measure(trial.recipe))
    trials = Study.open(study.folder).trials()
    assert [trial.number for trial in trials] == list(range(1, 13))
    assert len({tuple(trial.recipe.values()) for trial in trials}) == 12
    best = best_trial(study.definition, trials)
    assert best is not None
    assert best.values["yield"] > 10.9
    assert best.recipe["tool"] == "y"


def test_the_same_log_asks_for_the_same(tmp_path: Path) -> None:
    recipes_tried = []
    for name in ("one", "two"):
        study = make(tmp_path / name)
        for _ in range(4):
            [trial] = study.ask()
            study.tell(trial.number, measure(trial.recipe))
        recipes_tried.append([dict(trial.recipe) for trial in study.trials()])
    assert recipes_tried[0] == recipes_tried[1]


def test_told_twice_alike_is_once_and_otherwise_is_refused_unless_corrected(study: Study) -> None:
    [trial] = study.ask()
    study.tell(trial.number, {"yield": 5, "wear": 1})
    size = (study.folder / LOG_NAME).stat().st_size
    study.tell(trial.number, {"yield": 5, "wear": 1})
    assert (study.folder / LOG_NAME).stat().st_size == size
    with pytest.raises(InputError, match="told before: yield = 5, wear = 1"):
        study.tell(trial.number, {"yield": 6, "wear": 1})
    with pytest.raises(InputError, match="told before"):
        study.tell_failed(trial.number)
    assert study.tell(trial.number, {"yield": 6, "wear": 1}, correct=True).values["yield"] == 6
    assert len(read_log(study.folder)) == 3  # the wrong value stays in the log


def test_of_several_results_none_is_kept_when_one_is_refused(study: Study) -> None:
    study.ask(3)
    study.tell(2, {"yield": 1, "wear": 1})
    before = (study.folder / LOG_NAME).read_bytes()
    with pytest.raises(InputError, match="trial 2 was told before"):
        study.tell_all([Outcome(1, {"yield": 3, "wear": 1}), Outcome(2, {"yield": 3, "wear": 1})])
    with pytest.raises(InputError, match="trial 1 was told before"):
        study.tell_all([Outcome(1, {"yield": 3, "wear": 1}), Outcome(1, {"yield": 4, "wear": 1})])
    assert (study.folder / LOG_NAME).read_bytes() == before
    states = study.tell_all([Outcome(1, {"yield": 3, "wear": 1}), Outcome(3, None, "it jams")])
    assert [trial.state for trial in states] == ["done", "failed"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"yield": "nan", "wear": 1}, "yield = nan"),
        ({"yield": float("inf"), "wear": 1}, "yield = inf"),
        ({"yield": 1, "wear": -1e308}, "wear = -1e.308"),  # its square is none
        ({"yield": "high", "wear": 1}, "yield = high"),
        ({"yield": 1}, "no wear"),
        ({"yield": 1, "wear": 1, "ware": 2}, "Did you mean 'wear'"),
    ],
)
def test_a_result_that_is_none_is_refused_and_leaves_the_trial_open(
    study: Study, values: dict[str, object], said: str
) -> None:
    [trial] = study.ask()
    with pytest.raises(InputError, match=said):
        study.tell(trial.number, values)
    assert study.trials()[0].state == "pending"


def test_a_trial_that_was_not_asked_for_is_refused(study: Study) -> None:
    study.ask()
    with pytest.raises(InputError, match=r"trial 2 was never asked for. Expected: one of the open trials: 1"):
        study.tell(2, {"yield": 1, "wear": 1})


def test_what_has_failed_is_avoided(tmp_path: Path) -> None:
    study = make(tmp_path / "line", FILE.replace('[[constraints]]\nname = "wear"\nmost = 8\n', ""))
    for _ in range(14):
        [trial] = study.ask()
        if float(trial.recipe["a"]) > 5:  # the machine stops there, where the yield would be best
            study.tell_failed(trial.number, "it stops")
        else:
            study.tell(trial.number, {"yield": measure(trial.recipe)["yield"]})
    trials = study.trials()
    done = [float(trial.recipe["a"]) for trial in trials if trial.state == "done"]
    assert max(done) > 4  # up to where it stops
    assert len(done) >= 5
    assert all(trial.reason == "it stops" for trial in trials if trial.state == "failed")


def test_where_every_trial_has_failed_so_far_the_next_lies_apart_from_them(study: Study) -> None:
    recipes = []
    for _ in range(9):
        [trial] = study.ask()
        study.tell_failed(trial.number, "it stops")
        recipes.append((trial.recipe["a"], trial.recipe["tool"]))
    assert len(set(recipes)) == 9


def test_history_is_known_at_once_and_counted_once(study: Study) -> None:
    rows = [({"a": a, "tool": tool}, measure({"a": a, "tool": tool})) for a in (1, 3, 5, 7) for tool in "xy"]
    assert study.tell_history(rows, "2025.csv") == 8
    assert study.tell_history(rows, "2025.csv") == 0
    [trial] = study.ask()
    assert trial.number == 9
    assert trial.reason == "improve"
    assert 4 < float(trial.recipe["a"]) < 8
    with pytest.raises(InputError, match="from 0 to 10"):
        study.tell_history([({"a": 1, "tool": "x"}, rows[0][1]), ({"a": 11, "tool": "x"}, rows[0][1])], "bad.csv")
    assert len(study.trials()) == 9


def test_another_line_tells_where_to_begin(tmp_path: Path) -> None:
    rows = [(a, tool) for a in np.linspace(0, 10, 9) for tool in "xy"]
    lines = [f"{a},{tool},{measure({'a': a, 'tool': tool})['yield'] + 3},{a}" for a, tool in rows]
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "other.csv").write_text("\n".join(["a,tool,yield,wear", *lines]), encoding="utf-8")
    study = make(tmp_path / "line", FILE + '\n[[transfer]]\nfile = "other.csv"\nname = "line 2"\n')
    for _ in range(3):
        [trial] = study.ask()
        study.tell(trial.number, measure(trial.recipe))
    assert all(4.5 < float(trial.recipe["a"]) < 7.5 for trial in study.trials()[1:])


def test_a_pool_is_tried_without_repeats_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "pool.csv").write_text(
        "a,tool\n1.00000012345,x\n2,y\n6.123456789012,y\n9,x\n6,x\n", encoding="utf-8"
    )
    study = make(tmp_path / "line", 'pool = "pool.csv"\n' + FILE)
    for _ in range(3):
        [trial] = study.ask()
        study.tell(trial.number, measure(trial.recipe))
    assert len(study.ask(4)) == 2  # what is left
    recipes_tried = {tuple(trial.recipe.values()) for trial in study.trials()}
    assert recipes_tried == {(1.00000012345, "x"), (2, "y"), (6.123456789012, "y"), (9, "x"), (6, "x")}
    with pytest.raises(InputError, match="have been asked for"):
        study.ask()


def test_the_search_of_a_pool_starts_at_its_edges(tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    rows = "".join(f"{a},{tool}\n" for a in range(11) for tool in "xy")
    (tmp_path / "line" / "pool.csv").write_text("a,tool\n" + rows, encoding="utf-8")
    firsts = set()
    for seed in range(8):
        study = make(tmp_path / "line", f'pool = "pool.csv"\nseed = {seed}\n' + FILE)
        first, second = propose(study.definition, [], 2, pool=study.pool())
        assert {first.recipe["a"], second.recipe["a"]} == {0, 10}
        assert first.recipe["tool"] != second.recipe["tool"]
        firsts.add(tuple(first.recipe.values()))
    assert len(firsts) > 1  # not always from the same end


def test_a_recipe_of_a_pool_that_a_rule_forbids_is_never_asked_for(tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "pool.csv").write_text("a,tool\n" + "".join(f"{a},x\n" for a in range(10)), encoding="utf-8")
    study = make(tmp_path / "line", 'pool = "pool.csv"\n' + FILE + "\n[[rules]]\nweights = { a = 1 }\nmost = 4\n")
    assert {float(trial.recipe["a"]) for trial in study.ask(50)} == {0, 1, 2, 3, 4}


def test_rules_hold_in_every_proposal(tmp_path: Path) -> None:
    text = FILE.replace("[[objectives]]", '[[parameters]]\nname = "b"\nlow = 0\nhigh = 10\n\n[[objectives]]')
    study = make(tmp_path / "line", text + "\n[[rules]]\nweights = { a = 1, b = 2 }\nmost = 9\n")
    for _ in range(7):
        [trial] = study.ask()
        study.tell(trial.number, measure(trial.recipe))
    assert all(float(trial.recipe["a"]) + 2 * float(trial.recipe["b"]) <= 9.0001 for trial in study.trials())
    none = make(tmp_path / "none", text + "\n[[rules]]\nweights = { a = 1, b = 1 }\nmost = -1\n")
    with pytest.raises(InputError, match="the rules leave almost nothing"):
        none.ask()


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    study = make(tmp_path / "line", FILE + '\n[[objectives]]\nname = "cost"\ngoal = "minimize"\n')
    for _ in range(9):
        [trial] = study.ask()
        study.tell(trial.number, {**measure(trial.recipe), "cost": float(trial.recipe["a"])})
    front = pareto_front(study.definition, study.trials())
    yields, costs = ([trial.values[name] for trial in front] for name in ("yield", "cost"))
    assert len(front) >= 2
    assert yields == sorted(yields, reverse=True)
    assert costs == sorted(costs, reverse=True)


def test_a_line_that_was_cut_is_set_aside_and_the_rest_is_there(study: Study) -> None:
    [trial] = study.ask()
    study.tell(trial.number, {"yield": 1, "wear": 1})
    whole = (study.folder / LOG_NAME).read_bytes()
    with (study.folder / LOG_NAME).open("ab") as log:
        log.write(b'{"event": "tell", "tri')
    assert len(study.trials()) == 1  # a report reads on, and changes nothing
    assert "was cut" in study.repair()[0]
    assert (study.folder / LOG_NAME).read_bytes() == whole
    assert (study.folder / "log.ndjson.cut").read_bytes() == b'{"event": "tell", "tri\n'
    assert study.repair() == ()


def test_a_damaged_line_in_the_middle_is_label(study: Study) -> None:
    study.ask(2)
    lines = (study.folder / LOG_NAME).read_bytes().splitlines(keepends=True)
    (study.folder / LOG_NAME).write_bytes(b"garbage\n" + lines[1])
    with pytest.raises(MalformedError, match="line 1 of"):
        study.trials()


def test_a_file_that_no_longer_fits_its_log_is_refused(study: Study) -> None:
    [trial] = study.ask()
    (study.folder / "study.toml").write_text(FILE.replace('["x", "y"]', '["v", "w"]'), encoding="utf-8")
    with pytest.raises(InputError, match=f"trial {trial.number} of the log does not fit"):
        Study.open(study.folder).ask()


def test_a_folder_without_a_study_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="deepseek recipe process init"):
        Study.open(tmp_path)


def ask_once(folder: Path, queue: object) -> None:
    queue.put([(trial.number, dict(trial.recipe)) for trial in Study.open(folder).ask(2)])  # type: ignore[attr-defined]


def test_two_who_ask_at_once_get_different_trials(study: Study) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    people = [context.Process(target=ask_once, args=(study.folder, queue)) for _ in range(3)]
    for person in people:
        person.start()
    answers = [each for _ in people for each in queue.get(timeout=60)]
    for person in people:
        person.join()
    assert sorted(number for number, _ in answers) == [1, 2, 3, 4, 5, 6]
    assert len({tuple(recipe.values()) for _, recipe in answers}) == 6


WRITER = """
import sys
from pathlib import Path
from deepseek.automl.study.log import Entry, open_log
number = 0
while True:
    number += 1
    with open_log(Path(sys.argv[1])) as log:
        log.append(Entry("history", number, {"a": 1.0, "tool": "x"}, {"yield": float(number), "wear": 1.0}))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_nothing_that_was_answered_is_lost_by_kill_9(tmp_path: Path) -> None:
    for turn in range(8):
        folder = tmp_path / str(turn)
        folder.mkdir()
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        answered = [int(writer.stdout.readline()) for _ in range(5)]
        time.sleep(0.013 * turn)
        os.kill(writer.pid, signal.SIGKILL)
        answered += [int(line) for line in writer.communicate()[0].splitlines() if line.strip()]
        with open_log(folder) as log:
            kept = [entry.trial for entry in log.entries]
        assert kept[: len(answered)] == answered
        assert kept == list(range(1, len(kept) + 1))


def test_a_disk_that_is_full_keeps_the_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    entry = Entry("fail", 1, reason="x" * 400)
    with open_log(tmp_path) as log:
        log.append(entry)
        size = (tmp_path / LOG_NAME).stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        try:
            with pytest.raises(DeepseekError, match="cannot be written"):
                log.append(entry)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)
    assert (tmp_path / LOG_NAME).stat().st_size == size
    assert len(read_log(tmp_path)) == 1


def test_what_was_said_last_is_taken_back_and_the_log_keeps_it(study: Study) -> None:
    [trial] = study.ask()
    study.tell(trial.number, {"yield": 5, "wear": 1})
    study.tell(trial.number, {"yield": 6, "wear": 1}, correct=True)
    before = (study.folder / LOG_NAME).read_bytes()
    assert study.undo(trial.number).values["yield"] == 5
    assert study.undo(trial.number).state == "pending"
    assert study.undo(trial.number).state == "withdrawn"
    with pytest.raises(InputError, match="nothing is left to take back of trial 1"):
        study.undo(trial.number)
    with pytest.raises(InputError, match="trial 2 was never asked for"):
        study.undo(2)
    assert (study.folder / LOG_NAME).read_bytes().startswith(before)
    [again] = study.ask()
    assert (again.number, again.recipe) == (2, trial.recipe)  # what was withdrawn counts as never asked for
    assert study.tell(1, {"yield": 5, "wear": 1}).state == "done"  # it was run after all
    assert [each.state for each in study.trials()] == ["done", "pending"]


def test_what_somebody_else_has_changed_is_not_taken_back(study: Study) -> None:
    [trial] = study.ask()
    study.tell(trial.number, {"yield": 5, "wear": 1})
    with pytest.raises(InputError, match="trial 1 is done, not pending: it was changed since"):
        study.undo(trial.number, "pending")
    assert study.trials()[0].state == "done"


def test_a_table_of_history_that_was_wrong_can_be_told_again(study: Study) -> None:
    rows = [({"a": 1.0, "tool": "x"}, {"yield": 3.0, "wear": 1.0})]
    study.tell_history(rows, "old.csv")
    assert study.undo(1).state == "withdrawn"
    assert study.tell_history(rows, "old.csv") == 1
    assert [trial.state for trial in study.trials()] == ["withdrawn", "history"]
