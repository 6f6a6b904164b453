"""Two houses with other columns of the same people: what they learn, what crosses between them, what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.bundle.fields import parse_json_object
from deepseek.data import read_table
from deepseek.engines import open_runtime
from deepseek.errors import CheckError, DeepseekError, ExtraError, InputError
from deepseek.extras import is_installed
from deepseek.privacy.encrypted import cross_products
from deepseek.privacy.encrypted.cross_products import (
    LARGEST_FACTOR,
    MASK_BITS,
    ProductKey,
    ProductLayout,
    PublicProductKey,
    multiply,
)
from deepseek.privacy.simulation.simulate import SimulationOptions, simulate
from deepseek.privacy.study.definition import Party, Study, open_study
from deepseek.privacy.study.refusals import ForeignError, LateError, OtherStudyError, ReplayError
from deepseek.privacy.study.request import StudyRequest, VerticalRequest, make_study
from deepseek.privacy.study.settings import StudySettings, read_settings
from deepseek.privacy.vertical.answers import SCORES, AnsweringHouse, ScoredPeople
from deepseek.privacy.vertical.envelope import Envelope, HouseSigner, parts_to_arrays
from deepseek.privacy.vertical.halves import HalfFacts, HalfTarget
from deepseek.privacy.vertical.houses import HouseRows, read_house
from deepseek.privacy.vertical.intersection import SetIntersection, intersection_library
from deepseek.privacy.vertical.learning import HouseLearner, HouseWeights
from deepseek.privacy.vertical.memory import MemoryFile
from deepseek.privacy.vertical.sessions import ColumnHouse, LabelHouse
from deepseek.privacy.vertical.simulation import run_houses, simulate_vertical
from support.houses import bank_frame, make_houses, people, shop_frame, vertical_study, with_nan

pytest.importorskip("tenseal", reason="needs the extra 'privacy'")
HAS_PSI = is_installed("private_set_intersection")
ROUNDS = "rounds.num_rounds=2"


def houses_of(study: Study, bank: HouseRows, shop: HouseRows) -> tuple[LabelHouse, ColumnHouse]:
    nowhere = MemoryFile(None, study.digest)
    return (
        LabelHouse(study, "labels", bank, HouseSigner.for_simulation(study, "labels"), nowhere),
        ColumnHouse(study, "columns", shop, HouseSigner.for_simulation(study, "columns"), nowhere),
    )


def run_to(labels: LabelHouse, columns: ColumnHouse, step: str) -> None:
    while columns.step != step:
        columns.accept(labels.reply(columns.step, columns.message()))


def rows_of(study: Study, num_rows: int = 600) -> tuple[HouseRows, HouseRows]:
    frame = people(num_rows)
    bank = read_house(study, "labels", read_table(bank_frame(frame)))
    return bank, read_house(study, "columns", read_table(shop_frame(frame)))


def test_sums_of_products_are_those_of_the_rows_and_nobody_sees_the_products() -> None:
    rng = np.random.default_rng(0)
    vector, columns = rng.uniform(-1, 1, 900), rng.normal(size=(900, 7)).clip(-8, 8)
    layout, key = ProductLayout(900, 7), ProductKey.generate()
    products = multiply(PublicProductKey.read(key.public_bytes()), key.encrypt(vector, layout), columns, layout)
    sums = key.decrypt_sums(products.ciphertexts, layout)
    assert np.abs(products.unmask(sums) - columns.T @ vector).max() < 0.5  # of sums over 900 rows
    # what the holder of the key decrypts is the mask: 2^MASK_BITS times as large as a product can be
    assert np.abs(sums).min() > 2.0 ** (MASK_BITS - 8)
    assert layout.mask_bound == LARGEST_FACTOR**2 * 2.0**MASK_BITS
    again = multiply(PublicProductKey.read(key.public_bytes()), key.encrypt(vector, layout), columns, layout)
    assert np.abs(key.decrypt_sums(again.ciphertexts, layout) - sums).min() > 1e6  # masks are new each time


def test_the_noise_of_a_product_does_not_give_the_column_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the key knows the noise of its own ciphertext of zeros, of which the imaginary part of a product's slots
    is the column's multiple: a real mask leaves that as it is. The mask is small here, for doubles to show it."""
    seal = pytest.importorskip("tenseal.sealapi")
    tenseal = pytest.importorskip("tenseal")
    monkeypatch.setattr(cross_products, "MASK_BITS", 0)
    column, layout, key = (
        np.random.default_rng(0).normal(size=(4000, 1)).clip(-8, 8),
        ProductLayout(4000, 1),
        ProductKey.generate(),
    )
    encrypted = key.encrypt(np.zeros(4000), layout)
    products = multiply(PublicProductKey.read(key.public_bytes()), encrypted, column, layout)
    context = key._context
    parameters, plain = context.seal_context().data, seal.Plaintext()
    decryptor, encoder = seal.Decryptor(parameters, context.secret_key().data), seal.CKKSEncoder(parameters)
    slots = []
    for data in (encrypted[0], products.ciphertexts[0]):
        if data is encrypted[0]:
            ciphertext = tenseal.ckks_vector_from(context, data).ciphertext()[0]
        else:
            ciphertext = cross_products.load_ciphertext(parameters, data)
        decryptor.decrypt(ciphertext, plain)
        slots.append(np.array(encoder.decode_complex(plain))[:4000])
    guess = np.argsort(np.argsort(slots[1].imag / slots[0].imag))
    assert abs(np.corrcoef(guess, np.argsort(np.argsort(column[:, 0])))[0, 1]) < 0.1  # 1.0 by a mask of reals


def test_products_of_a_column_of_zeros_are_zero() -> None:
    layout, key = ProductLayout(100, 1), ProductKey.generate()
    products = multiply(
        PublicProductKey.read(key.public_bytes()), key.encrypt(np.ones(100), layout), np.zeros((100, 1)), layout
    )
    assert abs(products.unmask(key.decrypt_sums(products.ciphertexts, layout))[0]) < 0.5


@pytest.mark.parametrize("damage", ["cut", "other", "fewer"])
def test_ciphertexts_that_do_not_fit_are_refused_by_name(damage: str) -> None:
    layout, key = ProductLayout(100, 2), ProductKey.generate()
    public, parts = PublicProductKey.read(key.public_bytes()), key.encrypt(np.ones(100), layout)
    bad = {"cut": (parts[0][:1000],), "other": (b"x" * 1000,), "fewer": ()}[damage]
    with pytest.raises(CheckError, match="ciphertext"):
        multiply(public, bad, np.ones((100, 2)), layout)
    tenseal = pytest.importorskip("tenseal")
    other = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 29, 40])
    other.global_scale = 2**28
    other.make_context_public()
    secret = ProductKey.generate()._context.serialize(save_secret_key=True)
    for data in (key.public_bytes()[:500], b"", b"x" * 500, other.serialize(), secret):
        with pytest.raises(CheckError, match="public key"):
            PublicProductKey.read(data)
    for factor in (9.0, np.nan):
        with pytest.raises(InputError, match="beyond 8, or not finite"):
            key.encrypt(np.full(100, factor), layout)


def test_two_houses_take_the_steps_that_one_with_all_columns_would_end_at() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(500, 6))
    inputs[:, 3] += inputs[:, 0]  # of the other house, and not independent
    target = inputs @ rng.normal(size=6)
    halves = [inputs[:, :3], inputs[:, 3:]]
    learners = [HouseLearner(halves[0], target, 1e-6, 0.7), HouseLearner(halves[1], None, 1e-6, 0.7)]
    states = [HouseWeights.zeros(3), HouseWeights.zeros(3)]
    for _ in range(80):
        errors = [learner.error(state) for learner, state in zip(learners, states, strict=True)]
        states = [
            learner.step(state, learner.inputs.T @ errors[1 - place])
            for place, (learner, state) in enumerate(zip(learners, states, strict=True))
        ]
    expected = np.linalg.lstsq(inputs, target, rcond=None)[0]
    assert np.allclose(np.concatenate([state.weights for state in states]), expected, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_simulation_ends_where_all_columns_in_one_place_do(task: str, tmp_path: Path) -> None:
    study = vertical_study("rounds.num_rounds=8", task=task)
    report = simulate_vertical(study, read_table(people(1200, task)), HalfTarget(tmp_path / "halves"))
    metric = report.metric
    assert abs(report.metrics[metric].value - report.central[metric].value) < 0.02 * report.central[metric].value
    assert report.metrics[metric].value < report.alone["labels"][metric]  # a loss: the other house's columns help
    assert {path.name for path in report.bundles} == {"labels", "columns"}
    for path in report.bundles:
        assert not verify_bundle(path)
        evidence = parse_json_object(open_bundle(path).read("evidence/federation.json"), "federation.json")
        assert evidence["vertical"]
        assert evidence["transcript_is_chained"]
        assert set(evidence["what_left_each_house"]) == {"keys", "errors", "sums", "scores"}
        assert evidence["bytes_by_party"] == report.bytes_by_party
        assert set(evidence["each_house_saw"]) == {"labels", "columns"}


@pytest.mark.slow
def test_the_halves_add_up_to_what_was_measured(tmp_path: Path) -> None:
    frame = people(600)
    study = vertical_study(ROUNDS)
    report = simulate_vertical(study, read_table(frame), HalfTarget(tmp_path))
    houses = run_houses(study, read_table(frame))
    total = np.zeros(len(frame))
    for name, part in {"labels": bank_frame(frame), "columns": shop_frame(frame)}.items():
        with open_runtime(tmp_path / name) as runtime:
            total += runtime.predict(read_table(part.drop(columns=["person", "default"], errors="ignore"))).values
    facts = HalfFacts.read(open_bundle(tmp_path / "labels"))
    output = facts.output(total)
    truth = houses[0].shared_target
    test = houses[0].split.test
    losses = -np.log(output[test, truth[test]])
    assert abs(float(losses.mean()) - report.metrics["log_loss"].value) < 0.02
    with pytest.raises(InputError, match="no half"):
        HalfFacts.read(_plain_bundle(tmp_path))


def _plain_bundle(folder: Path):  # type: ignore[no-untyped-def]
    """A half whose facts are gone."""
    from deepseek.bundle import write_bundle

    half = open_bundle(folder / "columns")
    files = {name: half.read(name) for name in half.manifest.files if name != "vertical.json"}
    return write_bundle(folder / "plain", half.manifest, files)


@pytest.mark.slow
def test_nothing_that_crosses_holds_a_row_in_clear() -> None:
    """All that crosses in a study is searched for ids, for each scaled input and each error of a row, and for runs of
    inputs and targets."""
    study = vertical_study(ROUNDS)
    bank, shop = rows_of(study)
    labels, columns = houses_of(study, bank, shop)
    crossed: list[bytes] = []
    scores: list[np.ndarray] = []
    while not columns.is_over:
        crossed.append(columns.message())
        crossed.append(labels.reply(columns.step, columns.message()))
        columns.accept(crossed[-1])
        scores += [house.learner.error(house.state) for house in (labels, columns) if len(house.memory.weights)]
    held = crossed.pop(-2)  # the partial scores of the rows held back, which do cross
    text = b"\n".join(crossed)
    assert bank.target is not None
    for column in [*labels.learner.inputs.T, *columns.learner.inputs.T, *scores]:
        texts = {np.float64(value).tobytes() for value in column[:60]}
        assert not any(each in text for each in texts if each.count(0) < 2)
    for column in [bank.target, *bank.inputs.T, *shop.inputs.T]:
        for kind in (np.int64, np.float64, np.float32, np.int8):
            run = column.astype(kind)[:16].tobytes()
            assert run not in text or len(set(run)) == 1
    assert not any(name.encode() in text for name in bank.ids)
    final = columns.scores(columns.split.held_rows)
    assert all(np.float64(value).tobytes() in held for value in final)  # the search does see what is there
    assert len(held) < 8 * len(final) + 300  # and nothing else is in that message


def test_so_many_rounds_that_sums_could_be_solved_for_rows_are_refused() -> None:
    few, many = vertical_study("rounds.num_rounds=2"), vertical_study("rounds.num_rounds=50")
    bank, shop = rows_of(few, 100)
    for study, is_refused in ((few, False), (many, True)):
        labels, columns = houses_of(study, bank, shop)
        if is_refused:
            with pytest.raises(InputError, match="sums over 80 rows"):
                labels.reply("keys", columns.message())
        else:
            labels.reply("keys", columns.message())


def test_tables_that_do_not_fit_are_refused_by_name() -> None:
    study, frame = vertical_study(ROUNDS), people(200)
    bank, shop = bank_frame(frame), shop_frame(frame)
    twice = bank.assign(person=["p00000", "p00000", *bank["person"][2:]])
    cases = [
        ("labels", read_table(twice), "rows 0 and 1 have the same 'person'"),
        ("columns", with_nan(shop, "person", 3), "row 3 has no 'person'"),
        ("labels", with_nan(bank, "default", 5), "default"),
        ("columns", read_table(shop.assign(person=range(200))), "the id 'person' is number"),
        ("columns", read_table(shop.drop(columns="person")), "person"),
        ("columns", read_table(shop.drop(columns="debt")), "debt"),
        ("labels", read_table(shop), "no column 'default'"),
        ("columns", read_table(shop.assign(debt="much")), "column 'debt' holds text"),
        ("labels", read_table(bank.assign(default="maybe")), "class 'maybe'"),
    ]
    for role, table, words in cases:
        with pytest.raises(DeepseekError, match=words):
            read_house(study, role, table)  # type: ignore[arg-type]
    holed = read_house(study, "columns", with_nan(shop, "debt", 7))  # as in every study: the median of the sample
    assert np.isfinite(holed.inputs).all()


def test_ids_that_are_not_the_same_on_both_sides_are_refused_and_nothing_is_harmed() -> None:
    study = vertical_study(ROUNDS)
    bank, shop = rows_of(study)
    for places in (np.arange(599), np.r_[0:599, 599]):
        other = shop.take(places)
        changed = replace(other, ids=(*other.ids[:-1], "p99999"))
        labels, columns = houses_of(study, bank, changed)
        with pytest.raises(OtherStudyError, match="do not have the same ids"):
            labels.reply("keys", columns.message())
        _, good = houses_of(study, bank, shop)
        good.accept(labels.reply("keys", good.message()))
        assert good.step == "1/errors"
    _, few = houses_of(study, bank, shop.take(np.arange(20)))
    with pytest.raises(InputError, match="share 20 ids"):
        few.message()


def test_messages_of_another_step_a_second_one_and_numbers_that_are_not_finite_are_refused() -> None:
    study = vertical_study(ROUNDS)
    labels, columns = houses_of(study, *rows_of(study))
    run_to(labels, columns, "1/sums")
    message = columns.message()
    with pytest.raises(LateError, match="for the step 2/errors"):
        labels.reply("2/errors", message)
    for step in ("7/nothing", "ids", "scores"):
        with pytest.raises(LateError, match=f"for the step {step}"):
            labels.reply(step, message)
    signer = HouseSigner.for_simulation(study, "columns")
    width = labels.learner.inputs.shape[1]
    for numbers in (np.full(width, np.nan), np.full(width, np.inf), np.ones(width + 1), np.ones(width, np.float32)):
        with pytest.raises(CheckError, match=f"not {width} finite numbers"):
            labels.reply("1/sums", signer.seal("1/sums", {"sums": numbers}))
    reply = labels.reply("1/sums", message)
    assert labels.reply("1/sums", message) == reply  # the same again: the same reply
    with pytest.raises(ReplayError, match="another message"):
        labels.reply("1/sums", message + b" ")
    columns.accept(reply)
    assert columns.step == "2/errors"
    for data, words in ((b"", "envelope"), (b"{}\n", "time and signature"), (message[:400], "arrays cannot be read")):
        with pytest.raises(DeepseekError, match=words):
            labels.reply("2/errors", data)


def test_a_signature_of_somebody_else_is_refused(tmp_path: Path) -> None:
    from deepseek.bundle.sign import load_private_key

    houses = make_houses(tmp_path, ROUNDS)
    study = houses.folder.study
    bank, shop = rows_of(study)
    files = [MemoryFile.of(houses.folder, name) for name in ("bank", "shop")]
    keys = {name: load_private_key(path) for name, path in houses.keys.items()}
    labels = LabelHouse(study, "labels", bank, HouseSigner(study, study.parties[0], keys["bank"]), files[0])
    liar = ColumnHouse(study, "columns", shop, HouseSigner(study, study.parties[1], keys["bank"]), files[1])
    with pytest.raises(ForeignError, match="is not by its key"):
        labels.reply("keys", liar.message())
    files[1].path.unlink()  # type: ignore[union-attr]
    honest = ColumnHouse(study, "columns", shop, HouseSigner(study, study.parties[1], keys["shop"]), files[1])
    honest.accept(labels.reply("keys", honest.message()))
    records = [house.memory.records[0] for house in (labels, honest)]
    assert records[0] == records[1]
    assert all(message.signature for message in records[0].messages)
    # a house that comes back has what it had, and may not bring another table
    again = ColumnHouse(study, "columns", shop, HouseSigner(study, study.parties[1], keys["shop"]), files[1])
    assert again.message() == honest.message()
    assert again.step == "1/errors"
    assert (files[1].path.stat().st_mode & 0o777) == 0o600  # type: ignore[union-attr]
    with pytest.raises(InputError, match="comes back with other rows"):
        ColumnHouse(
            study, "columns", shop.take(np.arange(500)), HouseSigner(study, study.parties[1], keys["shop"]), files[1]
        )


def test_a_study_says_what_does_not_go_with_two_houses() -> None:
    sample = people(300, seed=9)
    bank, shop = read_table(bank_frame(sample)), read_table(shop_frame(sample))
    cases = [
        (VerticalRequest("person", read_table(shop_frame(sample)[["person", "debt"]])), (), "'debt' alone"),
        (
            VerticalRequest("person", read_table(shop_frame(sample).assign(age=1.0))),
            (),
            "both houses have a column 'age'",
        ),
        (VerticalRequest("person", read_table(shop_frame(sample).assign(person=range(300)))), (), "number and text"),
        (VerticalRequest("nobody", shop), (), "nobody"),
    ]
    for vertical, assignments, words in cases:
        with pytest.raises(InputError, match=words):
            make_study(bank, StudyRequest("loans", "default", vertical=vertical), read_settings(None, assignments))
    for assignment in ("model.kind='perceptron'", "protection.secure_sums=true", "rounds.strategy='fedprox'"):
        settings = read_settings(None, (assignment, *(["model.widths=[2]"] if "perceptron" in assignment else [])))
        with pytest.raises(InputError, match="does not go with a vertical study"):
            _write(replace(vertical_study(), settings=settings))
    with pytest.raises(InputError, match="the number of parties"):
        _write(replace(vertical_study(), parties=(Party("bank", "0" * 64),)))
    with pytest.raises(InputError, match="two houses with other columns"):
        simulate(vertical_study(), read_table(people()), SimulationOptions(2))


def _write(study: Study) -> None:
    import tempfile

    from deepseek.privacy.study.definition import write_study

    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder) / "study", study)


def test_a_study_without_two_houses_is_written_as_before(tmp_path: Path) -> None:
    from support.federation import make_federation

    folder = make_federation(tmp_path).folder
    assert b"vertical" not in folder.study.content
    assert open_study(folder.path).study.vertical is None
    vertical = make_houses(tmp_path / "two", ROUNDS).folder
    assert open_study(vertical.path).study.vertical == vertical.study.vertical
    assert isinstance(vertical.study.settings, StudySettings)


@pytest.mark.skipif(HAS_PSI, reason="the library is here")
def test_an_intersection_without_its_library_says_what_to_do(tmp_path: Path) -> None:
    study = vertical_study(ROUNDS, alignment="intersection")
    with pytest.raises(ExtraError, match=r"openmined-psi.*--same-ids"):
        houses_of(study, *rows_of(study))


@pytest.mark.skipif(not HAS_PSI, reason="needs the extra 'vertical'")
def test_an_intersection_shows_neither_side_an_id_outside_of_it() -> None:
    ours, theirs = (tuple(f"person-{n}" for n in span) for span in (range(100), range(60, 140)))
    first, second = SetIntersection.of(ours), SetIntersection.of(theirs)
    first = SetIntersection.restore(ours, first.secrets())  # as after a restart
    request, answer = first.request(), second.respond(first.request())
    assert first.shared_places(*answer) == tuple(range(60, 100))
    assert second.shared_places(*first.respond(second.request())) == tuple(range(40))
    for data in (request, *answer):
        assert not any(name.encode() in data for name in (*ours, *theirs))
    # the order of what is sent back says nothing of the order of a house's rows
    points = [list(intersection_library().ServerSetup.FromString(part).raw.encrypted_elements)
              for part in (answer[0],)]  # fmt: skip
    assert all(one <= other for one, other in pairwise(points[0]))
    empty = SetIntersection.of(("z1", "z2"))
    assert first.shared_places(*empty.respond(first.request())) == ()
    for data in (b"", b"no request", request[:-7]):
        with pytest.raises(CheckError, match="message about ids"):
            second.respond(data)


def test_scores_are_given_to_the_other_house_alone_and_of_people_that_are_here(tmp_path: Path) -> None:
    from deepseek.bundle.sign import load_private_key

    houses = make_houses(tmp_path, ROUNDS)
    study = houses.study
    bank, shop = (HouseSigner(study, party, load_private_key(houses.keys[party.name])) for party in study.parties)
    answering = AnsweringHouse(study, ScoredPeople(("p1", "p2", "p3"), np.array([0.1, 0.2, 0.3])), shop)

    def ask(signer: HouseSigner, ids: str, step: str = SCORES) -> bytes:
        return answering.reply(step, signer.seal(step, parts_to_arrays("ids", [ids.encode()])))

    arrays = Envelope.open(study, study.parties[1], SCORES, ask(bank, "p3\np1")).arrays()
    assert arrays["scores"].tolist() == [0.3, 0.1]
    with pytest.raises(CheckError, match="1 of the 2 ids are not with shop") as caught:
        ask(bank, "p3\np9")
    assert "p9" not in str(caught.value)
    with pytest.raises(ForeignError):
        ask(shop, "p1")
    with pytest.raises(CheckError, match="'keys' is no question"):
        ask(bank, "p1", "keys")
    with pytest.raises(DeepseekError, match="no ids"):
        answering.reply(SCORES, bank.seal(SCORES, {"ids": np.zeros(3)}))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_PSI, reason="needs the extra 'vertical'")
def test_houses_learn_from_the_people_that_both_have() -> None:
    study = vertical_study(ROUNDS, alignment="intersection")
    frame = people(700)
    bank = read_house(study, "labels", read_table(bank_frame(frame[:600].sample(frac=1, random_state=1))))
    shop = read_house(study, "columns", read_table(shop_frame(frame[100:].sample(frac=1, random_state=2))))
    labels, columns = houses_of(study, bank, shop)
    run_to(labels, columns, "scores")
    assert labels.shared_rows.ids == columns.shared_rows.ids == tuple(f"p{number:05}" for number in range(100, 600))
    crossed = [record.kind for record in labels.transcript.records]
    assert crossed[:2] == ["ids", "keys"]
    apart = read_house(study, "columns", read_table(shop_frame(frame.assign(person=[f"q{n}" for n in range(700)]))))
    labels, columns = houses_of(study, bank, apart)
    with pytest.raises(InputError, match="the houses share no id"):
        run_to(labels, columns, "scores")
