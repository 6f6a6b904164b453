"""What a coordinator or a party refuses by name. The study is as it was before."""

from __future__ import annotations

from deepseek.errors import CheckError


class ForeignError(CheckError):
    """A key, a certificate or a signature of nobody in the study."""

    status = 403
    code = "foreign_party"


class OtherStudyError(CheckError):
    """A party that holds another study, or another version of it."""

    code = "other_study"


class ClockError(CheckError):
    """A party whose clock is too far from the coordinator's."""

    code = "clock_off"


class LateError(CheckError):
    """A message for a step that is over, or has not begun."""

    code = "late_message"


class ReplayError(CheckError):
    """A second message for a step that has one from this party."""

    code = "replayed_message"


class ExpiredError(CheckError):
    """A certificate out of its time."""

    status = 403
    code = "certificate_expired"
