"""Which ids two houses share, by private set intersection (Diffie-Hellman over P-256, by openmined-psi).

    mine, theirs = SetIntersection(ids), SetIntersection(other_ids)     # each in its house
    request = mine.request()                                            # sent
    setup, response = theirs.respond(request)                           # sent back
    mine.shared_places(setup, response)                                 # which of `ids` the other has, too

Both ask, so that both know what they share and neither has to say it. Of ids outside of it a house learns how many the
other has, and nothing more: what is sent are points of a curve under a secret exponent. The setup is a plain list of
them, for the smaller structures of the library mistake some ids for shared ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepseek.errors import CheckError, ExtraError
from deepseek.extras import install_advice, need

MODULE = "private_set_intersection.python"
MAX_IDS = 5_000_000


def intersection_library() -> Any:
    """openmined-psi. ExtraError where it is not installed, with what it needs."""
    try:
        return need(MODULE, extra="vertical")
    except (ExtraError, ImportError) as error:
        raise ExtraError(
            "openmined-psi, which intersects ids, is not installed or does not load here",
            expected="the extra 'vertical': Python 3.11, Linux on x86-64 with glibc 2.39 or later",
            fix=f"{install_advice('privacy,vertical')}; or agree on the ids and make the study with --same-ids",
        ) from error


@dataclass(frozen=True, slots=True)
class SetIntersection:
    """One house's side."""

    ids: tuple[str, ...]
    _client: Any
    _server: Any

    @classmethod
    def of(cls, ids: tuple[str, ...]) -> SetIntersection:
        """With new secrets. ExtraError where the library is not there."""
        library = intersection_library()
        return cls(ids, library.client.CreateWithNewKey(True), library.server.CreateWithNewKey(True))

    @classmethod
    def restore(cls, ids: tuple[str, ...], secrets: tuple[str, str]) -> SetIntersection:
        """With the secrets of secrets()."""
        library = intersection_library()
        client, server = (bytes.fromhex(secret) for secret in secrets)
        return cls(ids, library.client.CreateFromKey(client, True), library.server.CreateFromKey(server, True))

    def secrets(self) -> tuple[str, str]:
        """Both exponents in hexadecimal, for a house's own file."""
        return self._client.GetPrivateKeyBytes().hex(), self._server.GetPrivateKeyBytes().hex()

    def request(self) -> bytes:
        """This house's ids, as nobody can read them."""
        return bytes(self._client.CreateRequest(list(self.ids)).SerializeToString())

    def respond(self, request: bytes) -> tuple[bytes, bytes]:
        """This house's ids, and the other's under both secrets. CheckError for bytes that are no request."""
        library = intersection_library()
        message = _parse(library.Request, request)
        if len(message.encrypted_elements) > MAX_IDS:
            raise _foreign_error()
        try:
            response = self._server.ProcessRequest(message)
            setup = self._server.CreateSetupMessage(
                1e-9, max(1, len(message.encrypted_elements)), list(self.ids),
                library.DataStructure.RAW,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            raise _foreign_error() from error
        return bytes(setup.SerializeToString()), bytes(response.SerializeToString())

    def shared_places(self, setup: bytes, response: bytes) -> tuple[int, ...]:
        """Which of this house's ids the other has, by place. CheckError for bytes that are no answer to the request."""
        library = intersection_library()
        try:
            places = self._client.GetIntersection(
                _parse(library.ServerSetup, setup), _parse(library.Response, response)
            )
        except (RuntimeError, ValueError) as error:
            raise _foreign_error() from error
        if any(not 0 <= place < len(self.ids) for place in places):
            raise _foreign_error()
        return tuple(sorted(places))


def _parse(kind: Any, data: bytes) -> Any:
    message = kind()
    decode_error = need("google.protobuf.message", extra="vertical").DecodeError
    try:
        message.ParseFromString(data)
    except (decode_error, RuntimeError) as error:
        raise _foreign_error() from error
    return message


def _foreign_error() -> CheckError:
    return CheckError(
        "the other house's message about ids cannot be read", expected="what openmined-psi writes",
        fix="let both houses run the same version of this project",
    )  # fmt: skip
