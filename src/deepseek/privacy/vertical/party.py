"""The house with other columns: asks the other step by step, and writes its half at the end.

joined = join_house("https://bank:8443", open_study(Path("study")), table, JoinOptions(key=Path("shop")), out=None)

A house with the target that is gone is asked again until `patience_s` is over; one that came back gives the same reply.
"""

from __future__ import annotations

from deepseek.bundle.sign import load_private_key
from deepseek.contracts import JsonObject
from deepseek.data import Table
from deepseek.errors import InputError
from deepseek.privacy.study.definition import StudyFolder
from deepseek.privacy.study.vertical import party_of
from deepseek.privacy.transport.party import JoinOptions, open_client
from deepseek.privacy.vertical.envelope import HouseSigner
from deepseek.privacy.vertical.halves import HalfTarget, pack_half
from deepseek.privacy.vertical.houses import read_house
from deepseek.privacy.vertical.memory import MemoryFile
from deepseek.privacy.vertical.sessions import ColumnHouse


def join_house(
    url: str, folder: StudyFolder, table: Table, options: JoinOptions, out: HalfTarget | None = None
) -> JsonObject:
    """Take part until the study is over. InputError for rows, keys and papers that do not fit, CheckError for what the
    other house refuses or sends wrongly, DeadlineError when it was gone for too long."""
    study = folder.study
    party = party_of(study, "columns")
    client = open_client(url, folder, options.key, options.patience_s)
    if client.party != party:
        raise InputError(
            f"{client.party.name} has the target, and serves the study", expected=f"the key of {party.name}",
            fix="deepseek federate serve STUDY --key KEY --data FILE",
        )  # fmt: skip
    signer = HouseSigner(study, party, load_private_key(options.key))
    rows = read_house(study, "columns", table)
    house = ColumnHouse(study, "columns", rows, signer, MemoryFile.of(folder, party.name))
    try:
        while not house.is_over:
            step = house.step
            house.accept(client.request("POST", f"/v1/vertical/{step}", house.message()))
            options.report(step)
    finally:
        client.close()
    report: JsonObject = {
        "party": party.name, "num_shared_rows": len(house.shared_rows),
        "bytes_by_party": house.transcript.bytes_by_party(),
    }  # fmt: skip
    if out is not None:
        bundle = pack_half(house, out, None)
        report |= {"bundle": str(bundle.path), "digest": bundle.digest}
    house.forget_secrets()
    return report
