"""How long a batch takes: a fixed part and a part for each unit (a row, or a token), learned while it goes on.

    latency.learn(num_units, seconds)
    latency.seconds(num_units)

Least squares with weights that fade: an observation counts OBSERVATION_DECAY of the one after it, so a machine that
becomes slower
is noticed within some tens of batches. The predicted wait decides about 429, so one mean per row will not do: single
rows cost several times what they cost in a full batch.
"""

from __future__ import annotations

OBSERVATION_DECAY = 0.95


class LatencyModel:
    """
    >>> latency = LatencyModel()
    >>> for num_units, took_s in ((1, 0.011), (32, 0.042), (1, 0.011), (32, 0.042)):
    ...     latency.learn(num_units, took_s)
    >>> round(latency.seconds(16), 4), round(latency.wait(320, batch_units=32, num_workers=2), 4)
    (0.026, 0.21)
    """

    __slots__ = ("_fixed_s", "_sums", "unit_s")

    def __init__(self) -> None:
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)  # of the weights, n, t, n^2 and n t
        self._fixed_s = 0.0
        self.unit_s = 0.0

    def learn(self, num_units: int, took_s: float) -> None:
        """A batch of `num_units` took so long."""
        weight, n, t, nn, nt = self._sums
        weight = OBSERVATION_DECAY * weight + 1
        n = OBSERVATION_DECAY * n + num_units
        t = OBSERVATION_DECAY * t + took_s
        nn = OBSERVATION_DECAY * nn + num_units * num_units
        nt = OBSERVATION_DECAY * nt + num_units * took_s
        self._sums = (weight, n, t, nn, nt)
        spread = nn - n * n / weight
        if spread > 0.01 * nn:  # batches of about one size say nothing of how the cost grows
            self.unit_s = max(0.0, (nt - n * t / weight) / spread)
        elif self.unit_s == 0.0:
            self.unit_s = t / n
        self.unit_s = min(self.unit_s, t / n)
        self._fixed_s = (t - self.unit_s * n) / weight

    def seconds(self, num_units: int) -> float:
        """How long a batch of `num_units` takes."""
        return self._fixed_s + self.unit_s * num_units

    def wait(self, num_units: int, *, batch_units: int, num_workers: int) -> float:
        """Seconds until `num_units` that wait are computed, in batches of `batch_units`."""
        if num_units <= batch_units:
            return self.seconds(num_units)
        return self.seconds(batch_units) * num_units / batch_units / num_workers

    def units_within(self, limit_s: float) -> int:
        """How many units a batch may have to take no longer than `limit_s`; 0 before anything was learned."""
        if not self._sums[0]:
            return 0
        return max(0, int((limit_s - self._fixed_s) / max(self.unit_s, 1e-9)))
