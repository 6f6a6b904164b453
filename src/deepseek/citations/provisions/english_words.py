"""Signal words of English rules, and the words by which subjects and conditions are told."""

from __future__ import annotations

import re

CASELESS = re.IGNORECASE


def _one_of(*phrases: str) -> str:
    """A pattern of one of some phrases, whose spaces may be any. A phrase may be a pattern itself."""
    return "(?:" + "|".join(phrase.replace(" ", r"\s+") for phrase in phrases) + ")"


_CONSENT = r"[^,;.]{0,60}\b(?:consent|approval|permission|authori[sz]ation|agreement|notice|instruction|obtaining)\b"
_ADVERBS = r"(?:\s" + _one_of(
    "also", "hereby", "only", "at all times", "at any time", "in any event", "in no event", "then", "further",
    "promptly",
    "immediately", "always", "forthwith", "either", "each", "both", "specifically", "expressly", "irrevocably", "first",
    "solely",
) + ")*"  # fmt: skip
_ASIDE = r"(?:,[^,]{1,40}(?:,[^,]{1,40}){0,2},)?"
_BETWEEN = (
    r"(?:[\s,]+(?:not|also|thereafter|only|automatically|in no (?:way|event)|hereby|thereby|then|nevertheless),?)*\s+"
)
_BE_DECLARED = _one_of(
    "deemed", "construed", "governed", "considered", "interpreted", "binding", "effective", "enforceable", "void",
    "null",
    "valid", "invalid", "severed", "modified", "reformed", "given", "enforced", "settled", "available", "cumulative",
    "relieved", "limited", "subject", "unenforceable", "in (?:full )?force", "treated as if", "read", "amended to",
    "decided", r"the\b", r"a\b", r"an\b", "in addition", "without prejudice", "regarded", "understood", "resolved",
    r"no\b",
    "liable to", "reduced", "affected", "presumed", "located", "called", "represented", "found", "original", "of no",
    "able", "made up", "executed", "final", "fully enforceable",
)  # fmt: skip
_DECLARED = _one_of(
    "mean", r"apply(?!\s+for\b)", "survive", "bind", "inure", "constitute", "supersede", "prevail", "operate", "impair",
    "govern", "preclude", "entitle", "imply", "diminish", "render", "result", "accrue", "arise", "vest", "endure",
    "create",
    "give rise", "never be liable", "fall", "appear", "lapse", "occur", "exist", "belong",
    "take (?:effect|precedence|place)",
    "have (?:no|the meanings?|the right|been|effect|any|jurisdiction|(?:non-)?exclusive)",
    "enter into (?:force|effect)",
    r"retain (?:all|any|its|their|sole|full)?\s*(?:right|title|ownership)",
)  # fmt: skip
#: What is the case or follows in law, behind shall, will or must.
DECLARES = re.compile(rf"{_ASIDE}{_BETWEEN}(?:be\s+(?:\w+ly\s+)?{_BE_DECLARED}|{_DECLARED})\b", CASELESS)
#: What is the case where a thing is the subject, and conduct where a person is.
THING_DECLARES = re.compile(
    _BETWEEN + _one_of(
        "include", "contain", "apply", "terminate", "expire", "become", "remain", "continue", "commence", "affect",
        "extend",
        "start", "begin", "end", "cease", "control", "relate", "run", "refer", "prevent", "limit", "grant", "confer",
        "exclude", "consist", "help", "enable", "depend", "vary", "stay", "need", "allow", "form", "count", "cover",
        "replace", "feature", "receive", "benefit", "cause",
    ) + r"\b", CASELESS,
)  # fmt: skip
#: Subjects of which such a verb says what is the case, though they hold the name of a person.
THING = re.compile(
    r"\b" + _one_of(
        "terms?", "definition", "agreement", "obligations?", "provisions?", "clause", "section", "breach", "violation",
        "amendment", "waiver", "failure", "disputes?", "information", "article",
    ) + r"\b", CASELESS,
)  # fmt: skip
EXEMPT = re.compile(
    r"\s+(?:not\s+)?(?:be\s+)?(?:held\s+)?"
    r"(?:liable|responsible|obligated|obliged|required|entitled|under any obligation)\b",
    CASELESS,
)
NOBODY = r"(?:neither|no|none of|nobody|nothing)\b"
PROMISE = r"\b(?:agrees?|undertakes?|covenants?|promises?)"
PROHIBITION = re.compile(
    "|".join((
        r"\b(?:shall|must|may|will|should|can)\s+(?:not|never|neither)\b(?!\s+only)", r"\bcannot\b|\bcan't\b|\bwon't\b",
        rf"{PROMISE}(?:\s+\w+){{0,2}}?\s+not\s+to\b", r"\bnot\s+to\b(?=\s+\w+)",
        r"\b(?:is|are|be)\s+(?:strictly\s+|expressly\s+)?(?:prohibited|forbidden|not\s+(?:permitted|allowed|authori[sz]ed))",
        r"\b(?:may|can|shall|must)\s+only\b", r"\bonly\s+(?:\w+\s+){0,4}may\b", r"\bis\s+not\s+entitled\b",
        r"\b(?:shall|must|will)\s+(?:refrain|abstain|cease)\b", r"\brefrain\s+from\b",
    )), CASELESS,
)  # fmt: skip
_AGREES_TO = (
    r"\b(?:agrees?|undertakes?|covenants?)\b(?:\s(?:\w+ly|also|further|hereby))*\s+to\b"
    r"(?!\s+(?:them|it|this|these|the|be bound)\b|\s+(?-i:[A-Z]))"
)
OBLIGATION = re.compile(
    "|".join((
        rf"\b(?:shall|must)\b{_ADVERBS}",
        _AGREES_TO,
        r"\b(?:is|are|be)\s+(?:(?!not\b)\w+\s+)?(?:required|obliged|obligated|bound)\s+to\b",
        r"\bneeds?\s+to\b(?!\s+know)", r"\b(?:has|have)\s+(?:a\s+duty\s+|an\s+obligation\s+)?to\b",
        r"\b(?:is|are)\s+(?:\w+\s+)?(?:solely\s+)?responsible\s+for\b", r"\b(?:it\s+is\s+)?your\s+responsibility\b",
    )), CASELESS,
)  # fmt: skip
PERMISSION = re.compile(
    "|".join((
        rf"\b(?:may|can){_ADVERBS}\b",
        r"\b(?:is|are|be)\s+(?:\w+\s+)?(?:entitled|permitted|allowed|authori[sz]ed|free)\s+to\b",
        r"\bshall\s+(?:also\s+)?be\s+entitled\b",
        r"\b(?:has|have|reserves?|retains?)\s+the\s+(?:\w+\s+)?(?:right|option)\b",
        r"\ballows?\s+you\b", r"\bis\s+optional\b", r"\bneed\s+not\b",
    )), CASELESS,
)  # fmt: skip
WILL = re.compile(rf"\bwill\b{_ADVERBS}|\b(?:'ll)\b", CASELESS)
#: Behind may or can: something is possible, and nothing allowed.
POSSIBLE = re.compile(
    r"\s+" + _one_of(
        "be (?:\\w+ )?" + _one_of(
            "liable", "required", "necessary", "subject", "relevant", "held", "deemed", "legally", "adjudged",
            "considered",
            "of interest", "charged", "shown", "demonstrated", "proven", "affected", "available", "contacted",
            "delayed",
            "lost", "interested",
        ),
        r"(?:have|include|result|arise|apply|become|contain|change|affect|vary|seem|prove|occur|exist|cause|help|differ|incur"
        r"|not|reasonably|from time to time)\b",
        "be made whole",
    ), CASELESS,
)  # fmt: skip
CONDITION = re.compile(
    r"\b" + _one_of(
        "if", "when(?:ever)?", "where(?!by|as|in|of|upon)", "upon", "unless(?: and until)?", "until",
        "except(?: (?:as|to|that|for|where|when|with|by|in))?", f"without(?={_CONSENT})",
        "in the event(?: (?:that|of))?",
        "in case", "in such (?:case|event)", "to the extent", "as long as", "so long as", "in order to", "during",
        "on (?:request|demand|termination)", "before", "after", "prior to", "within the meaning", "subject to",
        "at the (?:request|election)", "once",
    ) + r"\b", CASELESS,
)  # fmt: skip
#: Conditions that do not open a segment: behind the signal word they limit it.
LATER_CONDITION = re.compile(
    r"(?<!\bas\s)\b" + _one_of(
        "if", "unless(?: and until)?", "except(?: (?:as|to|that|for|where|when|with|by|in))?",
        rf"without\s+(?={_CONSENT})", "in the event", r"to the extent(?!\s+possible)", "so long as", "as long as",
        r"upon (?=[^,;.]{0,40}\b(?:request|demand|termination|receipt|expiration|notice)\b)", "on (?=request|demand)",
        "where (?=the|it|this|such|disclosure|required|you|we)", "when (?=the|it|you|we|such)",
    ), CASELESS,
)  # fmt: skip
AT_REQUEST = re.compile(
    r"(?:up)?on\s+[^,;.]{0,50}?\b(?:request|demand|termination|receipt|expiration|notice)\b"
    r"(?:\s+(?:by|of|from|to)\s+(?:the\s+|a\s+|such\s+|any\s+)?(?:written\s+)?[\w'’]+"
    r"(?:\s(?:[Pp]arty|counsel|request|notice|demand))?){0,3}(?:\s+at\s+any\s+time)?"
)
#: Where a condition behind the signal word ends.
CONDITION_STOP = re.compile(
    r"[;]|[.](?=\s|$)|,\s(?=(?:and|all|any|the|such|in which|or\s\w+\sany)\b)"
    r"|\s(?:and\s(?:that|shall|will|to\b(?!\s+the\s+extent)|\([ivx\d]+\)))"
)
SUBJECT_NOUN = re.compile(
    r"\b(?:you|we|they|he|she|it|i|each|every|any|all|no|neither|the|such|a|an|this|these|those|its|our|your|their)\b|[A-Z]"
)
PERSON = re.compile(
    r"\b" + _one_of(
        "you", "we", "they", "he", "she", "i", "part(?:y|ies)", "user", "customer", "member", "person", "anyone",
        "everyone",
        "employer", "employee", "lessee", "lessor", "tenant", "landlord", "lender", "borrower", "buyer", "seller",
        "owner",
        "holder", "board", "court", "agency", "authority", "commission", "minister", "secretary", "bank", "company",
        "provider", "controller", "processor", "counsel", "representative", "recipient", "discloser", "consumer",
        "member state", "operator", "contractor", "officer", "parent",
    ) + r"s?\b|(?-i:\b[A-Z][\w.]+)\s*$", CASELESS,
)  # fmt: skip
#: What joins a subject to the text before it.
SUBJECT_CUT = re.compile(
    r".*(?:[;:]\s|,\s(?:and|but|or)\s(?=(?:the|each|any|no|neither|such|all|you|we|they|it|he|she|[A-Z])\b)"
    r"|\b(?:agrees?|acknowledges?|understands?|procures?|agreed|confirms?)\s(?:\w+\s)?(?:and\s\w+\s)?that,?\s"
    r"|\bprovided\s(?:always\s)?that\s|\b(?:Accordingly|Furthermore|However|Additionally|Moreover|Therefore|Thus),\s)",
    re.DOTALL,
)
#: A phrase that opens a sentence before its subject.
SUBJECT_LEAD = re.compile(
    r"(?:for example|for|at|in|to|on|under|by|as|with|within|following|concerning|regarding|notwithstanding|out|during"
    r"|(?:promptly|immediately|forthwith)\s+(?:up)?on)\b",
    CASELESS,
)
SUBJECT_TAIL = re.compile(
    r"\s(?:also|hereby|further|specifically|expressly|acknowledges?|and|will|who|mutually|at any time|therefore"
    r"|in our sole discretion)$",
    CASELESS,
)
SUBJECT_HEAD = re.compile(r"^(?:\([ivxa-z\d]{1,4}\)\s*)?(?:(?:and|but|or|that|so|then|note that|also)\s+)?", CASELESS)
#: A verb behind the subject that is not the signal word: "each party is aware, and will".
SUBJECT_VERB = re.compile(
    r"(?<!that)(?<!which)(?<!who)\s(?:is|are|has|have)\s(?!\w+ed\s+(?:by|to|from|under)).*$", re.DOTALL
)
LABEL = re.compile(
    r"^\s*(?:\d{1,2}(?:\.\d{1,2})*\.?\s*(?=[A-Z]))?"
    r"(?:[(\[]?(?:\d{1,2}(?:\.\d{1,2})*|[a-zA-Z]|[ivxIVX]{1,5})[)\].](?:\s*-)?\s+)?(?:(?:\d{1,2}\.)+\d{0,2}\s+)?"
    r"(?:(?:[A-Z][\w'’/-]*\s?(?:and|of|or|to|in|the|by|for|with)?\s?){1,6}[.:]\s+)?"
)
_NUMBER = (
    r"(?:\d[\d,.]*|(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|fourteen|fifteen|twenty|thirty|forty-five"
    r"|sixty|ninety)(?:\s\(\d+\))?)"
)
TIME = re.compile(
    rf"\b{_NUMBER}(?:\s?\([\d□]+\))?[\s-]+(?:[\"“]?(?:business|calendar|working)\s)?"
    r"(?:days?|months?|years?|hours?|weeks?)\b|\b(?:annually|each year|every year)\b",
    CASELESS,
)
AMOUNT = re.compile(rf"[$€£]\s?\d[\d,.]*|\b{_NUMBER}\s?(?:%|per\s?cent|percent|dollars|euros|million)", CASELESS)
AGE = re.compile(r"\bage of\s*$|\bunder\s*$|\bof\s+age\b", CASELESS)
_FINE = r"(?:an?\s+)?(?:\w+\s+)?(?:fine|penalty)"
PENALTY = re.compile(
    rf"\b(?:pay\s+{_FINE}|liable\s+(?:on\s+\w+\s+)?to\s+(?:{_FINE}|imprisonment)|punish(?:ed|able)\s+(?:by|with)"
    r"|commits?\s+an\s+off[ae]n[cs]e|guilty\s+of\s+an?\s+(?:off[ae]n[cs]e|misdemeanor)|be\s+fined|imprison(?:ed|ment)"
    rf"|subject\s+to\s+{_FINE})\b",
    CASELESS,
)
