"""A request as the handlers see it: its media type, its id and trace, its deadline."""

from __future__ import annotations

import pytest

from deepseek.errors import MalformedError
from deepseek.http_errors import MediaTypeError
from deepseek.serve.core.config import Settings
from deepseek.serve.core.request import Request, read_request_id, read_traceparent

SETTINGS = Settings()
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def call_of(**headers: bytes) -> Request:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return Request("POST", "/", named, SETTINGS)


@pytest.mark.parametrize("media", [b"application/json", b"Application/JSON; charset=utf-8", b""])
def test_json_is_read(media: bytes) -> None:
    call_of(content_type=media).check_media_type()


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": b"text/plain"},
        {"content_type": b"application/x-www-form-urlencoded"},
        {"content_type": b"application/json", "content_encoding": b"gzip"},
    ],
)
def test_other_media_and_compressed_bodies_are_refused(headers: dict[str, bytes]) -> None:
    with pytest.raises(MediaTypeError) as caught:
        call_of(**headers).check_media_type()
    assert caught.value.status == 415


@pytest.mark.parametrize("header", [b"order-17", b"a" * 128, b"0:1/2+3="])
def test_a_harmless_request_id_is_kept(header: bytes) -> None:
    assert read_request_id({b"x-request-id": header}) == header.decode()


@pytest.mark.parametrize("header", [b"", b"a" * 129, b"a b", b'"}', b"a\nb", b"caf\xc3\xa9", b"<script>"])
def test_another_request_id_is_replaced(header: bytes) -> None:
    request_id = read_request_id({b"x-request-id": header})
    assert request_id != read_request_id({})
    assert request_id.isalnum()


def test_a_valid_traceparent_is_kept() -> None:
    assert read_traceparent({b"traceparent": TRACE}) == TRACE.decode()


@pytest.mark.parametrize(
    "header",
    [
        b"", TRACE[:-1], TRACE + b"0", TRACE.upper(), TRACE.replace(b"00-4", b"ff-4"), b"00-" + b"0" * 32 + TRACE[35:],
        TRACE.replace(b"00f067aa0ba902b7", b"0" * 16),
    ],
)  # fmt: skip
def test_another_traceparent_is_dropped(header: bytes) -> None:
    assert read_traceparent({b"traceparent": header}) == ""


def test_a_client_can_shorten_the_deadline_but_not_stretch_it() -> None:
    call = call_of(x_timeout_ms=b"250")
    assert call.deadline_s == pytest.approx(call.started_s + 0.25)
    stretched = call_of(x_timeout_ms=b"99999999999999999999")
    assert stretched.deadline_s == pytest.approx(stretched.started_s + SETTINGS.timeout_s)


@pytest.mark.parametrize("header", [b"0", b"-1", b"soon", b"1.5", b""])
def test_a_timeout_that_is_none_is_malformed(header: bytes) -> None:
    with pytest.raises(MalformedError, match="x-timeout-ms"):
        _ = call_of(x_timeout_ms=header).deadline_s


def test_zeros_before_a_timeout_do_not_end_it_at_once() -> None:
    call = call_of(x_timeout_ms=b"0000000000000000030")
    assert call.deadline_s == pytest.approx(call.started_s + 0.03)
