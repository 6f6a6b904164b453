"""The engine process: computes predictions.

python -m deepseek.engines.process FD PID        FD: an inherited socket, see wire.py; PID: of the front end
"""

from __future__ import annotations

from deepseek.engines.process.answering import answer
from deepseek.engines.process.opened import open_model

if __name__ == "__main__":
    answer(open_model)
