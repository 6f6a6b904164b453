"""Documents of our own text: short supplier agreements, a checklist for them, and one agreement in two versions.

    checklist, documents, contract, older = write_example(Path("folder"), seed=0)

Every sentence here was written for this example. Each agreement says, denies or leaves out each line by chance.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NUM_DOCUMENTS = 36


@dataclass(frozen=True, slots=True)
class _Topic:
    """A line of the checklist and the ways in which an agreement may speak of it."""

    id: str
    title: str
    text: str
    expect: str
    risk: str
    heading: str
    says: tuple[str, ...]
    denies: tuple[str, ...] = ()


TOPICS = (
    _Topic(
        "liability-cap", "Cap on liability", "The liability of the supplier is limited to the fees of twelve months.",
        "present", "high", "Liability",
        ("The total liability of the Supplier in a year is limited to the fees paid in the twelve months before.",
         "The Supplier is liable up to an amount equal to twelve months of fees, and not beyond it.",
         "In no year shall what the Supplier owes in damages exceed the fees of the preceding twelve months."),
        ("The liability of the Supplier is unlimited in amount.",
         "No cap applies to what the Supplier owes in damages; it is liable without limit."),
    ),
    _Topic(
        "breach-notice", "Notice of data breaches", "The supplier reports a breach of personal data within 72 hours.",
        "present", "high", "Personal data",
        ("The Supplier shall report every breach of personal data to the Customer within 72 hours of learning of it.",
         "If personal data are lost or disclosed, the Supplier informs the Customer no later than 72 hours afterwards.",
         "Breaches of personal data are notified to the Customer in writing within three days at the latest."),
        ("The Supplier need not report a breach of personal data unless an authority asks for it.",
         "There is no duty of the Supplier to inform the Customer of breaches of personal data."),
    ),
    _Topic(
        "audit", "Right to audit", "The customer may audit the supplier once a year.", "present", "medium", "Audit",
        ("The Customer may audit the premises and the books of the Supplier once in a calendar year.",
         "Once a year the Customer, or an auditor of its choice, may inspect how the Supplier performs.",
         "The Supplier grants the Customer the right to a yearly audit of its processes."),
        ("The Customer has no right to audit the Supplier.", "Audits and inspections of the Supplier are excluded."),
    ),
    _Topic(
        "subcontractors", "Consent to subcontractors", "Subcontractors need the consent of the customer.", "present",
        "medium", "Subcontractors",
        ("The Supplier engages subcontractors only with the prior written consent of the Customer.",
         "No part of the services may be handed to a third party unless the Customer has agreed in writing.",
         "A subcontractor may start work after the Customer has approved it."),
        ("The Supplier may use subcontractors of its choice without asking the Customer.",
         "Consent of the Customer to subcontractors is not required."),
    ),
    _Topic(
        "term-notice", "Notice of termination", "The customer may end the agreement with 30 days' notice.", "present",
        "low", "Term",
        ("The Customer may end this Agreement at any time with thirty days' notice.",
         "A notice of 30 days suffices for the Customer to terminate without cause.",
         "The Customer is free to terminate; the period of notice is thirty days."),
        ("The Customer cannot terminate this Agreement before its fixed term has ended.",),
    ),
    _Topic(
        "one-sided-change", "One-sided changes", "The supplier may change the terms by itself.", "absent", "high",
        "Changes",
        ("The Supplier may change these terms at any time by publishing a new version on its website.",
         "Terms and prices may be amended by the Supplier alone; continued use counts as consent.",
         "The Supplier reserves the right to modify this Agreement without the agreement of the Customer."),
        ("Changes of this Agreement need the signature of both parties.",
         "Neither party may change these terms alone; amendments are made in writing by both."),
    ),
    _Topic(
        "auto-renewal", "Silent renewal", "The agreement renews itself for years.", "absent", "medium", "Renewal",
        ("This Agreement renews itself for further terms of two years unless it is ended six months before.",
         "Without a notice half a year ahead the term is extended automatically by another twenty-four months.",
         "At the end of each term the Agreement is prolonged by two years of its own accord."),
        ("This Agreement does not renew itself; it ends with its term.",),
    ),
    _Topic(
        "data-resale", "Use of data for others", "The supplier may use the customer's data for its own ends.", "absent",
        "high", "Use of data",
        ("The Supplier may use the data of the Customer to develop and sell products of its own.",
         "Data of the Customer may be passed to partners of the Supplier for marketing.",
         "The Supplier is entitled to analyze and commercialize what the Customer stores with it."),
        ("The Supplier uses the data of the Customer for the services alone and for no purpose of its own.",),
    ),
)  # fmt: skip
_FILLERS = (
    ("Parties", "This Agreement is made between {customer}, the Customer, and {supplier}, the Supplier."),
    ("Definitions", "“Services” means the work that is described in Annex A. “Fees” means the amounts in Annex B."),
    ("Services", "The Supplier performs the Services with the care of an expert and by the plan in Annex A."),
    ("Fees", "The Customer pays each invoice within 45 days. Late amounts bear interest of four percent a year."),
    ("Staff", "Each party names a contact person. A person who leaves is replaced within ten working days."),
    ("Confidentiality", "Each party keeps secret what the other has marked as secret, and returns it at the end."),
    ("Force majeure", "Neither party answers for what a flood, a war or an order of an authority prevents."),
    ("Insurance", "The Supplier keeps an insurance against damage to persons and property during the term."),
    ("Place", "The Services are performed in the offices of {customer} or at a distance, as agreed in each case."),
    ("Law", "The law of the seat of the Customer applies. The courts at that seat decide."),
)
_CUSTOMERS = ("Northfield Bank", "Harbor Mutual", "Lindengate Hospital", "Quarry Steel Works", "Meadow City Council")
_SUPPLIERS = ("Aster Systems", "Bluepine Hosting", "Corvid Analytics", "Delta Print", "Everline Support")


@dataclass(frozen=True, slots=True)
class ExampleFiles:
    """Where the example lies."""

    checklist: Path
    documents: Path
    contract: Path
    older: Path


def write_example(folder: Path, *, seed: int = 0) -> ExampleFiles:
    """Write the example below a folder, which is made."""
    documents = folder / "documents"
    documents.mkdir(parents=True, exist_ok=True)
    files = ExampleFiles(folder / "checklist.toml", documents, folder / "contract.txt", folder / "contract-old.txt")
    files.checklist.write_text(_checklist_toml(), encoding="utf-8")
    draw = np.random.default_rng(seed)
    with (documents / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["document", "line", "state", "quote"])
        for number in range(NUM_DOCUMENTS):
            name = f"agreement-{number + 1:02}.txt"
            states = {topic.id: _draw_state(draw) for topic in TOPICS}
            text, quotes = _agreement(states, draw)
            (documents / name).write_text(text, encoding="utf-8")
            for topic in TOPICS:
                writer.writerow([name, topic.id, states[topic.id], quotes.get(topic.id, "")])
    states = {topic.id: "holds" if topic.expect == "present" else "not there" for topic in TOPICS}
    older, _ = _agreement(states, np.random.default_rng(seed + 1))
    files.older.write_text(older, encoding="utf-8")
    newer = states | {"liability-cap": "breaks", "audit": "not there", "one-sided-change": "holds"}
    files.contract.write_text(_agreement(newer, np.random.default_rng(seed + 1))[0], encoding="utf-8")
    return files


def _draw_state(draw: np.random.Generator) -> str:
    """holds: the agreement says the line's text; breaks: the opposite."""
    return str(draw.choice(["holds", "breaks", "not there"], p=[0.45, 0.25, 0.3]))


def _agreement(states: dict[str, str], draw: np.random.Generator) -> tuple[str, dict[str, str]]:
    """The text of an agreement with numbered clauses, and the sentence of each line."""
    names = {"customer": draw.choice(_CUSTOMERS), "supplier": draw.choice(_SUPPLIERS)}
    sections = [(heading, text.format(**names)) for heading, text in _FILLERS]
    quotes = {}
    for topic in TOPICS:
        says, denies = str(draw.choice(topic.says)), str(draw.choice(topic.denies))  # drawn whatever the state is
        place = int(draw.integers(3, len(_FILLERS) - 1))
        sentence = {"holds": says, "breaks": denies}.get(states[topic.id])
        if sentence is not None:
            quotes[topic.id] = sentence
            sections.insert(place, (topic.heading, sentence))
    lines = ["SUPPLIER AGREEMENT", ""]
    for number, (heading, text) in enumerate(sections, 1):
        lines += [f"{number}. {heading}", f"{number}.1 {text}", ""]
    return "\n".join(lines), quotes


def _checklist_toml() -> str:
    head = '[checklist]\nname = "Supplier agreements"\n'
    lines = [
        f'[[line]]\nid = "{topic.id}"\ntitle = "{topic.title}"\ntext = "{topic.text}"\n'
        f'expect = "{topic.expect}"\nrisk = "{topic.risk}"\n'
        for topic in TOPICS
    ]
    return "\n".join([head, *lines])
