"""What a served model is unsure of joins a project: which rows, how many, masked; never to be tested on."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from automl.label.conftest import MakeProject
from automl.label.test_project import change
from deepseek.automl.label.choose.cache import load_features
from deepseek.automl.label.collect.config import CollectConfig
from deepseek.automl.label.collect.sink import UnsureSink
from deepseek.automl.label.collect.unsure import find_unsure
from deepseek.automl.label.project.additions import count_served
from deepseek.automl.label.project.project import Project, ProjectOptions
from deepseek.automl.label.verbs import new_project
from deepseek.contracts import AnsweredRows, Event, Prediction
from deepseek.errors import InputError

LABELS = ("fire", "water")


def answered(
    records: list[Any], chances: list[Any], labels: tuple[str, ...] = LABELS, status: int = 200
) -> tuple[Event, AnsweredRows]:
    """A request and what was answered: its rows stand behind one of another request in the batch."""
    table = np.array([np.full(len(labels), 1 / len(labels)), *chances], np.float32)
    names = np.array([labels[row.argmax()] for row in table])
    event = Event("request", "claims", "v1", status, len(records), fields={"request_id": "r1"})
    return event, AnsweredRows(records, Prediction(labels, names, table), 1)


def send(folder: Path, options: str, *requests: tuple[Event, AnsweredRows]) -> UnsureSink:
    sink = UnsureSink(CollectConfig.parse(f"{folder},share=1{options}"), {})
    for request in requests:
        sink.emit_rows(*request)
    sink.close()
    return sink


def served_items(folder: Path) -> list[dict[str, Any]]:
    with Project.open(folder) as project:
        return [dict(item.content) for item in project.store.items() if item.key.startswith("served")]


def claim(number: int, amount: float = 7) -> dict[str, Any]:
    return {"story": f"claim {number}", "amount": amount}


def test_of_two_classes_the_threshold_is_where_the_answer_tips() -> None:
    event, rows = answered([claim(row) for row in range(3)], [[0.45, 0.55], [0.72, 0.28], [0.98, 0.02]])
    found = find_unsure(event, rows, frozenset(LABELS), 0.3, 0.2)
    assert [(row.record["story"], row.answer, row.version) for row in found] == [("claim 1", "fire", "v1")]
    assert (found[0].margin, found[0].probability) == (pytest.approx(0.04), pytest.approx(0.72))
    assert [row.record["story"] for row in find_unsure(event, rows, frozenset(LABELS), None, 0.2)] == ["claim 0"]


def test_of_several_classes_the_next_one_counts_and_other_classes_are_not_sent() -> None:
    labels = ("fire", "theft", "water")
    event, rows = answered([claim(0), claim(1)], [[0.5, 0.42, 0.08], [0.6, 0.3, 0.1]], labels)
    [row] = find_unsure(event, rows, frozenset(labels), None, 0.2)
    assert (row.record["story"], row.margin) == ("claim 0", pytest.approx(0.08))
    assert find_unsure(event, rows, frozenset(LABELS), None, 1.0) == []


def test_the_least_sure_join_first_and_no_more_than_may_wait(make_project: MakeProject) -> None:
    with make_project() as project:
        folder, num_items = project.folder, project.counts().num_items
        rows = [claim(number) for number in range(4)]
        chances = [[0.46, 0.54], [0.51, 0.49], [0.95, 0.05], [0.52, 0.48]]
        send(folder, ",waiting=2", answered(rows, chances), answered([claim(9)], [[0.5, 0.5]], status=500))
        assert [item["story"] for item in served_items(folder)] == ["claim 1", "claim 3"]
        counts = project.counts()
        assert (counts.num_items, counts.num_test, counts.num_served) == (num_items + 2, 7, 2)
        items = {item.key: item for item in project.store.items()}
        first = items[f"served {max(item.number for item in items.values()) - 1}"]
        assert not first.is_test
        suggestion = project.store.suggestion(first.number)
        assert suggestion is not None
        assert (suggestion.value, suggestion.probability) == ("fire", pytest.approx(0.51))
        assert project.store.next_items("ann", 1)[0].content["story"] == "claim 1"
        project.store.record(change("a", first.number, "fire"))
        send(folder, ",waiting=2", answered(rows, chances))
        assert [item["story"] for item in served_items(folder)] == ["claim 1", "claim 3", "claim 0"]
        assert project.verify() == 1


def test_rows_that_the_project_has_are_not_sent_again(make_project: MakeProject) -> None:
    with make_project() as project:
        own = dict(next(project.store.items()).content)
        rows = [{**own, "amount": float(own["amount"])}, claim(1, 3), claim(1, 3.0), {**claim(1, 3), "more": 1}]
        send(project.folder, "", answered(rows, [[0.5, 0.5]] * 4))
        assert [item["story"] for item in served_items(project.folder)] == ["claim 1"]


def test_what_is_hidden_or_personal_does_not_leave_the_server(make_project: MakeProject) -> None:
    with make_project() as project:
        row = {"story": "mail ann@bank.com, card 4111 1111 1111 1111", "amount": float("nan"), "owner": "Ann"}
        send(project.folder, "", answered([row], [[0.5, 0.5]]))
        send(project.folder, ",hide=amount,texts=plain", answered([{**row, "amount": 5}], [[0.5, 0.5]]))
        assert served_items(project.folder) == [
            {"story": "mail [email], card [card]", "amount": None}, {"story": row["story"], "amount": None},
        ]  # fmt: skip


def test_a_share_of_the_requests_is_looked_at(make_project: MakeProject) -> None:
    with make_project() as project:
        sink = UnsureSink(CollectConfig.parse(f"{project.folder},share=0.25,waiting=1000"), {})
        for number in range(400):
            event, rows = answered([claim(number)], [[0.5, 0.5]])
            event.fields = {"request_id": f"order-{number}"}
            sink.emit_rows(event, rows)
        sink.close()
        assert count_served(project.store) == 88  # by the hash of their ids


def test_a_project_that_is_gone_holds_up_nobody_and_is_told_once(make_project: MakeProject) -> None:
    with make_project() as project:
        folder = project.folder
    heard: list[Event] = []
    sink = UnsureSink(CollectConfig.parse(f"{folder},share=1,every_s=0.01"), {}, tell=heard.append)
    shutil.rmtree(folder)
    sink.emit_rows(*answered([claim(1), claim(2)], [[0.5, 0.5]] * 2))
    sink.close()
    assert [event.fields["state"] for event in heard] == ["what the model is unsure of cannot be sent"]
    assert sink.num_lost == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (",share=0", "share is 0"),
        (",margin=x", "margin of --unsure-to is 'x'"),
        (",waiting=1.5", "'1.5'.*whole number"),
        (",sahre=1", "Did you mean 'share'"),
        (",texts=some", "texts is 'some'"),
        (",files=some", "files is 'some'"),
        (",hide=owner", "no column 'owner' to hide"),
        (",hide=story+amount", "all columns are hidden"),
    ],
)
def test_options_that_do_not_fit_are_refused(make_project: MakeProject, options: str, expected: str) -> None:
    with make_project() as project, pytest.raises(InputError, match=expected):
        UnsureSink(CollectConfig.parse(f"{project.folder}{options}"), {})


def write_picture(path: Path, shade: int) -> bytes:
    """A gray PNG."""
    from PIL import Image

    Image.new("L", (12, 12), shade).save(path)
    return path.read_bytes()


def coded(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, list[bytes]]:
    """A project of six pictures, and their bytes."""
    (tmp_path / "pictures").mkdir()
    data = [write_picture(tmp_path / "pictures" / f"{number}.png", 40 * number) for number in range(6)]
    options = ProjectOptions("binary", LABELS, num_test=1)
    new_project(tmp_path / "pictures", tmp_path / "seen", options)
    return tmp_path / "seen", data


def test_pictures_join_with_consent_are_shown_and_learned_from(
    pictures: tuple[Path, list[bytes]], tmp_path: Path
) -> None:
    folder, data = pictures
    with pytest.raises(InputError, match=r"nothing can be masked.*files=plain"):
        UnsureSink(CollectConfig.parse(str(folder)), {})
    new = [write_picture(tmp_path / f"new{number}.png", 25 + number) for number in range(2)]
    rows = [
        {"file": coded(new[0])},
        {"file": "data:image/png;base64," + coded(new[1])["b64"]},
        {"file": coded(data[3])},
    ]
    rows += [{"file": None}, {"file": "0.png"}]  # a row without a file, and a path, which no server opens
    sink = send(folder, ",files=plain", answered(rows, [[0.5, 0.5]] * 5))
    assert sink.num_lost == 1
    with Project.open(folder) as project:
        served = [item for item in project.store.items() if item.key.startswith("served")]
        assert [project.media_path(item, "file").read_bytes() for item in served] == new
        assert all(str(item.content["file"]).startswith("served/") for item in served)
        assert project.check_files() == []
        project.store.record(change("a", served[0].number, "fire"))
        project.store.record(change("b", 1, "water"))
        assert {item.content["file"] for item in project.store.next_items("bo", 9)} >= {served[1].content["file"]}
        assert load_features(project).dense[-1].any()
        Path(project.definition.root, str(served[1].content["file"])).unlink()
        assert [item.number for item in project.check_files()] == [served[1].number]


def test_no_more_pictures_are_written_than_may_wait(pictures: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    folder, _ = pictures
    new = [write_picture(tmp_path / f"new{number}.png", 25 + number) for number in range(4)]
    chances = [[0.55, 0.45], [0.5, 0.5], [0.58, 0.42], [0.52, 0.48]]
    send(folder, ",files=plain,waiting=2", answered([{"file": coded(each)} for each in new], chances))
    files = sorted((tmp_path / "pictures" / "served").iterdir())
    assert sorted(each.read_bytes() for each in files) == sorted([new[1], new[3]])  # the least sure of them


def test_requests_of_large_files_pass_when_too_many_wait(
    pictures: tuple[Path, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepseek.automl.label.collect.sink.MAX_WAITING_BYTES", 1_000)
    requests = [answered([{"file": {"b64": "A" * 600}}], [[0.5, 0.5]])] * 3
    sink = UnsureSink(CollectConfig.parse(f"{pictures[0]},share=1,files=plain"), {})
    for request in requests:
        sink.emit_rows(*request)
    assert sink.num_lost == 2
    sink.close()


def test_sounds_and_slices_of_a_scan_join_as_they_came(tmp_path: Path) -> None:
    for kind, suffix, data in (("sounds", ".wav", b"RIFF\0\0\0\0WAVEfmt "), ("scans", ".dcm", bytes(128) + b"DICM")):
        root = tmp_path / kind
        for number in range(3):
            part = root / f"{number}"
            part.mkdir(parents=True)
            for place in range(2 if kind == "scans" else 1):
                (part / f"{place}{suffix}").write_bytes(data + bytes([number, place]))
        new_project(root, tmp_path / f"{kind}-project", ProjectOptions("binary", LABELS, num_test=1))
        slices = [data + b"new", data + b"more"]
        value = {"files": [coded(each)["b64"] for each in slices]} if kind == "scans" else coded(slices[0])
        send(tmp_path / f"{kind}-project", ",files=plain", answered([{"file": value}], [[0.5, 0.5]]))
        [content] = served_items(tmp_path / f"{kind}-project")
        path = root / content["file"]
        assert path.suffix == ("" if kind == "scans" else suffix)
        written = sorted(path.iterdir()) if kind == "scans" else [path]
        assert [each.read_bytes() for each in written] == slices[: len(written)]
        assert {each.suffix for each in written} == {suffix}


def test_projects_of_other_tasks_are_refused(make_project: MakeProject) -> None:
    with make_project(task="spans", labels=("a",)) as project, pytest.raises(InputError, match="a project of spans"):
        UnsureSink(CollectConfig.parse(str(project.folder)), {})
