"""The engine process: computes predictions.

python -m deepseek.engines.process FD PID        FD: an inherited socket, see wire.py; PID: of the front end
"""

from __future__ import annotations

from deepseek.engines.process.served_model import open_model
from deepseek.engines.process.worker import run_worker

if __name__ == "__main__":
    run_worker(open_model)
