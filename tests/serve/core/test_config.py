"""Settings: what the environment says, what an option says, and how a wrong value is refused."""

from __future__ import annotations

import pytest

from deepseek.errors import InputError
from deepseek.serve.core.config import Settings


def test_defaults_listen_on_this_machine_alone() -> None:
    assert Settings.read({"WORKERS": "0"}) == Settings()
    assert Settings().host == "127.0.0.1"


def test_the_environment_is_read() -> None:
    environ = {
        "MODEL_PATH": "/models/loans", "HOST": "0.0.0.0", "PORT": " 8123 ", "BATCH_SIZE": "64", "WORKERS": "1",
        "DEEPSEEK_API_KEYS_FILE": "keys.txt", "DEEPSEEK_LOG_LEVEL": "WARNING",
    }  # fmt: skip
    settings = Settings.read(environ)
    assert (settings.model_path, settings.host, settings.port, settings.batch_size) == (
        "/models/loans",
        "0.0.0.0",
        8123,
        64,
    )
    assert (settings.api_keys_file, settings.log_level) == ("keys.txt", "warning")


def test_a_level_is_read_in_any_case() -> None:
    assert Settings.read({}, log_level="INFO").log_level == "info"


def test_an_option_wins_over_the_environment_and_none_is_not_given() -> None:
    settings = Settings.read({"PORT": "8123", "BATCH_SIZE": "64"}, port=0, batch_size=None)
    assert (settings.port, settings.batch_size) == (0, 64)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PORT": "eight"}, "PORT is 'eight'. Expected: a whole number from 0 to 65535"),
        ({"PORT": "70000"}, "PORT is 70000. Expected: a whole number from 0 to 65535"),
        ({"PORT": "auto"}, "PORT is 'auto'. Expected: a whole number from 0 to 65535"),
        ({"BATCH_SIZE": "auto"}, "BATCH_SIZE is 'auto'. Expected: a whole number from 1"),
        ({"FRONT_ENDS": "auto"}, "FRONT_ENDS is 'auto'. Expected: a whole number from 1"),
        ({"BATCH_SIZE": "0"}, "BATCH_SIZE is 0. Expected: a whole number from 1"),
        ({"WORKERS": "2000"}, "WORKERS is 2000. Expected: a whole number from 0 to 1024"),
        ({"DEEPSEEK_LOG_LEVEL": "loud"}, "log_level is 'loud'. Expected: debug, info"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_expected(environ: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings.read(environ)
    assert said in str(caught.value)


def test_http_and_grpc_need_a_port_each() -> None:
    with pytest.raises(InputError, match="both 8001"):
        Settings(port=8001, grpc_port=8001)
    assert Settings(port=0, grpc_port=0).grpc_port == 0


def test_workers_alone_may_be_chosen_by_the_machine() -> None:
    assert Settings.read({"WORKERS": "auto"}).workers >= 1


def test_a_timeout_must_be_possible() -> None:
    with pytest.raises(InputError, match="timeout_s is 0"):
        Settings(timeout_s=0)


def test_a_switch_is_on_or_off() -> None:
    assert not Settings.read({}).coalesce
    assert Settings.read({"COALESCE": "1"}).coalesce
    assert not Settings.read({"COALESCE": "Off"}).coalesce
    assert Settings.read({"COALESCE": "no"}, coalesce=True).coalesce
    with pytest.raises(InputError, match="COALESCE is 'maybe'"):
        Settings.read({"COALESCE": "maybe"})
