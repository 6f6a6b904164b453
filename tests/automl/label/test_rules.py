"""Labels by rules: what they cover, what a label model makes of them, and rules that are wrong in some way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("scipy")

from automl.label.conftest import MakeProject
from automl.label.test_choose import label_all
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.rules import code
from deepseek.automl.label.rules.apply import run_rules
from deepseek.automl.label.rules.definition import Rule, read_rules
from deepseek.automl.label.rules.label_model import fit_label_model, majority_vote
from deepseek.automl.label.rules.learned_votes import weigh_votes
from deepseek.automl.label.rules.patterns import Search, search_rows
from deepseek.automl.label.rules.votes import vote
from deepseek.automl.label.training import training_rows
from deepseek.cli import main
from deepseek.errors import InputError

RULES = """
[[rules]]
name = "smoke"
label = "fire"
keywords = ["smoke", "kitchen"]

[[rules]]
name = "pipe"
label = "water"
regex = '\\bpipe\\b'

[[rules]]
name = "small"
label = "water"
column = "amount"
at_most = 50
"""


@pytest.fixture
def project(make_project: MakeProject) -> Any:
    with make_project() as project:
        yield project


def write(tmp_path: Path, text: str, name: str = "rules.toml") -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_rules_vote_by_words_expressions_and_bounds(project: Project, tmp_path: Path) -> None:
    rules = read_rules(write(tmp_path, RULES), project.definition)
    rows = [
        {"story": "SMOKE in the hall", "amount": 51}, {"story": "smoked fish", "amount": 50.0},
        {"story": None, "amount": None}, {"story": "the pipe's smoke", "amount": 1},
    ]  # fmt: skip
    votes = vote(rules, rows, project.definition, ["1", "2", "3", "4"])
    assert [each.labels for each in votes] == [
        ("fire", None, None, "fire"), (None, None, None, "water"), (None, "water", None, "water"),
    ]  # fmt: skip


def test_chinese_words_need_no_blanks(project: Project, tmp_path: Path) -> None:
    text = '[[rules]]\nname = "a"\nlabel = "fire"\nkeywords = ["着火", "fire"]\n'
    rules = read_rules(write(tmp_path, text), project.definition)
    rows = [{"story": text, "amount": 1} for text in ("厨房着火了", "the fireman", "发生fire事故")]
    assert vote(rules, rows, project.definition, ["1", "2", "3"])[0].labels == ("fire", None, "fire")


def test_rules_are_measured_on_the_test_and_label_nothing_of_it(project: Project, tmp_path: Path) -> None:
    label_all(project, 12)
    result = run_rules(project, write(tmp_path, RULES), keep=True)
    smoke, pipe, small = result.rules
    assert (smoke.num_right, pipe.num_right) == (smoke.num_known, pipe.num_known)
    assert result.coverage == 1.0
    assert small.conflicts == pytest.approx(3 / 6)  # of rows 0 to 5, those about smoke
    assert result.accuracy == 1.0
    assert small.accuracy < smoke.accuracy
    tests = {item.number for item in project.store.items() if item.is_test}
    kept = {row[0] for row in project.store.connection.execute("SELECT item FROM rule_labels")}
    known = {label.item for label in project.store.labels()}
    assert result.num_kept == len(kept) > 0
    assert not kept & (tests | known)
    assert project.verify() == 12
    label_all(project, 27, "bo")
    rows = training_rows(project.folder)
    assert rows.weights is None  # people have labeled all of it by now


def test_labels_of_rules_weigh_what_they_are_worth(project: Project, tmp_path: Path) -> None:
    label_all(project, 20)
    run_rules(project, write(tmp_path, RULES), keep=True)
    rows = training_rows(project.folder)
    assert rows.weights == "label_confidence"
    weights = rows.train.column("label_confidence")
    assert ((weights >= 0.6) & (weights <= 1)).all()
    assert (weights < 1).any()
    assert "by rules" in rows.train.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1", "holds no rules"),
        ("[[rules]]\n", "no name or label"),
        ('[[rules]]\nname = "a"\nlabel = "smoke"\nkeywords = ["b"]', "is not a label"),
        ('[[rules]]\nname = "a"\nlabel = "fire"', "asks for nothing"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nkeywords = ["b"]\nregex = "c"', "or for two things"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nregex = "("', "missing \\)"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nat_least = 3', "names no column"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nregex = "b"\ncolumn = "storry"', "Did you mean 'story'"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nkeyword = ["b"]', "Did you mean 'keywords'"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nkeywords = "b"', "no list of words"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nregex = ""', "asks for nothing"),
        (f'[[rules]]\nname = "a"\nlabel = "fire"\nregex = "{"(" * 5000 + ")" * 5000}"', "the rule 'a': maximum"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nregex = "a{99999999999999999999}"', "number is too large"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\ncolumn = "amount"\nat_least = nan', "a bound is no number"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\ncolumn = "amount"\nat_least = 3\nat_most = 2', "no number is at"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\ncolumn = "story"\nat_least = 3', "'story', which holds no numbers"),
        ('[[rules]]\nname = "a"\nlabel = "fire"\nbundle = "b"', "has a label, which its model says"),
        ('[[rules]]\nname = "a"\nbundle = "b"', "there is no bundle"),
        ('[[rules]]\nname = "a"\nurl = "file:///etc/passwd"\nmodel = "m"', "asks 'file:///etc/passwd' for m"),
        ('[[rules]]\nname = "a"\nurl = "http://127.0.0.1:1/"', "for no model"),
        ("[[rules", "is no TOML"),
        ("x = " + "[" * 5000, "is no TOML"),
    ],
)
def test_rules_that_do_not_fit_are_refused_in_words(project: Project, tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        read_rules(write(tmp_path, text), project.definition)


def test_an_expression_that_goes_back_forever_is_named_with_its_row(project: Project) -> None:
    searches = [Search("pipes", "pipe", ("story",)), Search("loop", "(a+)+$", ("story",))]
    rows = [{"story": "a pipe"}, {"story": "a" * 60 + "b"}, {"story": None}]
    assert search_rows(searches[:1], rows, ["row 1", "row 2", "row 3"]) == [[True, False, False]]
    with pytest.raises(InputError, match="expression of 'loop' does not end on row 2") as raised:
        search_rows(searches, rows, ["row 1", "row 2", "row 3"], text_cpu_s=0.1)
    assert raised.value.exit_code == 2
    with pytest.raises(InputError, match="of 'loop' does not end"):
        search_rows(searches, rows, ["row 1", "row 2", "row 3"], rule_cpu_s=0.1)


def test_code_runs_only_with_leave_and_raising_is_abstaining(project: Project, tmp_path: Path) -> None:
    label_all(project, 12)
    text = """
print("hello")
def rule_smoke(row):
    return "fire" if "smoke" in row["story"] else None
def rule_leaves(row):
    raise SystemExit(0)
def rule_odd(row):
    return {"pipe": "water"}[row["story"].split()[3]]
"""
    path = write(tmp_path, text, "rules.py")
    with pytest.raises(InputError, match="is code, and would run with your rights"):
        run_rules(project, path)
    result = run_rules(project, path, allow_code=True)
    smoke, leaves, odd = result.rules
    assert (smoke.num_raised, leaves.num_raised, odd.num_raised) == (0, 39, 20)
    assert odd.first_error == "KeyError: 'and'"
    assert smoke.num_right == smoke.num_known > 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("while True: pass", "has not ended after"),
        ("import random; return random.choice(['fire', 'water'])", "otherwise when it is asked again"),
        ("return 'smoke'", "rule_a: 'smoke' is not a label"),
        ("import os; os._exit(3)", "cannot be run"),
        ("import os; os._exit(0)", "rule_a has ended its process"),
        ("return None\ndef rule_a(row): return None", "has rule_a twice"),
    ],
)
def test_functions_that_loop_or_disagree_with_themselves_are_named(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, expected: str
) -> None:
    monkeypatch.setattr(code.run_function, "__defaults__", (10.0 if "while" not in body else 1.0,))
    path = write(tmp_path, f"def rule_a(row):\n    {body}\n", "rules.py")
    with pytest.raises(InputError, match=expected):
        run_rules(project, path, allow_code=True)


def draw_votes(accuracy: list[float], num: int = 3_000, copies: int = 0, seed: int = 0) -> tuple[Any, Any]:
    """Votes of rules that err by themselves, and `copies` of the first of them; a third abstains."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, num)
    votes = np.full((num, len(accuracy) + copies), -1)
    for rule, share in enumerate(accuracy):
        wrong = (truth + draw.integers(1, 3, num)) % 3
        said = np.where(draw.random(num) < share, truth, wrong)
        votes[:, rule] = np.where(draw.random(num) < 2 / 3, said, -1)
    for copy in range(copies):
        votes[:, len(accuracy) + copy] = votes[:, 0]
    return votes, truth


def test_the_label_model_finds_how_right_rules_are_without_any_label() -> None:
    accuracy = [0.9, 0.8, 0.6, 0.5]
    votes, truth = draw_votes(accuracy)
    model = fit_label_model(votes, 3)
    assert model.accuracy == pytest.approx(accuracy, abs=0.05)
    covered = (votes >= 0).any(axis=1)
    ours = (model.probabilities(votes).argmax(axis=1) == truth)[covered].mean()
    plain = (majority_vote(votes, 3).argmax(axis=1) == truth)[covered].mean()
    assert ours > plain


def test_rules_that_copy_each_other_do_not_outvote_the_rest() -> None:
    votes, truth = draw_votes([0.55, 0.8, 0.8, 0.8], copies=3)
    gold = np.where(np.arange(len(truth)) < 100, truth, -1)
    model = fit_label_model(votes, 3, gold)
    assert model.weight[0] < 0.6 * model.weight[1]
    rest = np.arange(len(truth)) >= 100
    ours = (model.probabilities(votes).argmax(axis=1) == truth)[rest].mean()
    plain = (majority_vote(votes, 3).argmax(axis=1) == truth)[rest].mean()
    assert ours > plain + 0.05


def draw_one_sided_votes(seed: int) -> tuple[Any, Any, Any]:
    """Votes of rules that know one class each: three of class 0 that speak often and err, two of class 1 that do not;
    the classes; and numbers that tell them apart, if not sharply."""
    draw = np.random.default_rng(seed)
    truth = np.arange(600) % 2
    dense = draw.normal(size=(600, 4))
    dense[:, 0] += np.where(truth == 1, 1.6, -1.6)
    votes = np.full((600, 5), -1)
    for rule, (label, right, wrong) in enumerate(
        [(0, 0.5, 0.25), (0, 0.5, 0.25), (0, 0.4, 0.2), (1, 0.3, 0.03), (1, 0.3, 0.03)]
    ):
        votes[draw.random(600) < np.where(truth == label, right, wrong), rule] = label
    return votes, truth, dense


@pytest.mark.parametrize("seed", range(3))
def test_a_class_of_many_rules_does_not_win_all_conflicts_and_a_model_of_the_items_helps(seed: int) -> None:
    votes, truth, dense = draw_one_sided_votes(seed)
    covered = (votes >= 0).any(axis=1)
    ways = (
        majority_vote(votes, 2), fit_label_model(votes, 2).probabilities(votes),
        weigh_votes(votes, 2, dense=dense).chances,
    )  # fmt: skip
    plain, alone, together = ((way.argmax(axis=1) == truth)[covered].mean() for way in ways)
    assert alone > plain + 0.03
    assert together > plain + 0.06


def test_nothing_is_learned_from_what_is_held_back() -> None:
    votes, truth, dense = draw_one_sided_votes(0)
    is_held = np.arange(600) >= 400
    first = weigh_votes(votes, 2, gold=truth, dense=dense, is_held=is_held)
    changed = weigh_votes(votes, 2, gold=np.where(is_held, 1 - truth, truth), dense=dense, is_held=is_held)
    assert (first.chances == changed.chances).all()
    few = weigh_votes(votes[:20], 2, dense=dense[:20])  # too few to learn from: the rules alone
    assert (few.chances == fit_label_model(votes[:20], 2).probabilities(votes[:20])).all()


def test_a_class_that_people_know_and_no_rule_does_is_learned() -> None:
    """Half of the items that rules take for class 0 are of class 2, as people said of a fifth of them."""
    votes, truth, dense = draw_one_sided_votes(0)
    truth = np.where((truth == 0) & (dense[:, 1] > 0), 2, truth)
    dense[:, 2] += np.where(truth == 2, 4.0, -4.0)
    gold = np.where(np.isin(np.arange(600) % 10, [0, 5]), truth, -1)
    chances = weigh_votes(votes, 3, gold=gold, dense=dense).chances
    rest = (truth == 2) & (gold < 0) & ((votes == 0).sum(axis=1) == 1) & ~(votes == 1).any(axis=1)
    assert rest.sum() > 10
    assert (chances[rest].argmax(axis=1) == 2).mean() > 0.5


def test_rules_of_one_class_alone_say_that_class() -> None:
    votes = np.where(np.arange(120) % 2 == 0, 0, -1)[:, None]
    chances = weigh_votes(votes, 2, dense=np.random.default_rng(0).normal(size=(120, 3))).chances
    assert (chances[::2, 0] > 0.6).all()
    assert np.isfinite(chances).all()


def test_no_votes_say_nothing() -> None:
    model = fit_label_model(np.full((5, 2), -1), 2)
    assert model.probabilities(np.full((3, 2), -1)) == pytest.approx(0.5)


def test_the_verb_prints_a_table_and_json(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, RULES)
    assert main(["label", "rules", str(project.folder), str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [rule["name"] for rule in document["rules"]] == ["smoke", "pipe", "small"]
    assert main(["label", "rules", str(project.folder), str(path)]) == 0
    assert "How right they are is measured" in capsys.readouterr().out


class Chat(BaseHTTPRequestHandler):
    """A generator that knows fires, falls silent on row 2 and rambles on row 3."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        [message] = body["messages"]
        Chat.asked.append(message["content"])
        answer = "Fire." if "smoke" in message["content"] else "fire or water"
        content = (
            b"{}"
            if "broken" in message["content"]
            else json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
        )
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def chat_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_generator_is_asked_once_about_equal_texts_and_abstains_where_it_names_no_label(
    project: Project, chat_url: str
) -> None:
    Chat.asked.clear()
    rows = [{"story": text, "amount": 1} for text in ("smoke", "smoke", "broken", "a pipe", None)]
    [votes] = vote([Rule("llm", url=chat_url, model="m")], rows, project.definition, ["1", "2", "3", "4", "5"])
    assert votes.labels == ("fire", "fire", None, None, None)
    assert (votes.num_raised, len(Chat.asked)) == (1, 3)
    assert "fire, water" in Chat.asked[0]
    nowhere = Rule("llm", url="http://127.0.0.1:1/v1/chat/completions", model="m")
    with pytest.raises(InputError, match="does not answer"):
        vote([nowhere], [{"story": f"{row}", "amount": 1} for row in range(9)], project.definition, list("123456789"))


@pytest.mark.slow
def test_an_older_model_is_a_rule_that_abstains_where_it_is_not_sure(
    make_project: MakeProject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_project("old", num_rows=120) as old:
        label_all(old, 119)
    words = ["--out", str(tmp_path / "bundle"), "--trials", "1", "--candidates", "linear", "--json"]
    assert main(["ship", str(old.folder), *words]) == 0
    with make_project("new", num_rows=60) as new:
        label_all(new, 20)
        path = write(tmp_path, '[[rules]]\nname = "last year"\nbundle = "bundle"\nat_least = 0.6')
        [report] = run_rules(new, path).rules
        assert report.num_right == report.num_known == 20
        sure = write(tmp_path, '[[rules]]\nname = "last year"\nbundle = "bundle"\nat_least = 1.1')
        assert run_rules(new, sure).coverage == 0
    with make_project("others", labels=("a", "b")) as others, pytest.raises(InputError, match="answers 'fire'"):
        run_rules(others, path)
