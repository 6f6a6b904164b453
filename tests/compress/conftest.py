"""The small network, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.nets.compress_models import make_digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py, net.onnx, train.npz and validation.npz."""
    return make_digits(tmp_path_factory.mktemp("digits"))
