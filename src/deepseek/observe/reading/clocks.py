"""Hosts whose clocks are apart: noticed where a host's first and last row both lie away from everybody else's by as
much.

A host that began later or stopped earlier moves one end alone, and is left as it is.
"""

from __future__ import annotations

import numpy as np

from deepseek.observe.reading.ndjson import quote_text
from deepseek.observe.reading.tables import Logs

MIN_OFFSET_S = 60.0  # a smaller one does not move a row out of its window
MAX_OFFSET_S = 14 * 3_600.0  # a larger one is no clock: the host ran at another time
SAME_SHARE = 0.1  # by how much of their size the offsets of both ends may differ
MIN_ROWS = 50


def set_clocks_right(logs: Logs) -> None:
    """Move the rows of such hosts, and note by how much. A zone of time that was not written is an offset like
    others."""
    if "host" not in logs.columns:
        return
    ends = logs.query(
        f"SELECT CAST(host AS VARCHAR), min(time), max(time) FROM rows WHERE host IS NOT NULL GROUP BY 1 "
        f"HAVING count(*) >= {MIN_ROWS} ORDER BY 1"
    )
    if len(ends) < 3:  # of two nobody can say which one is right
        return
    times = np.array([row[1:] for row in ends], np.float64)
    offsets = times - np.median(times, axis=0)
    for (host, *_), (first, last) in zip(ends, offsets.tolist(), strict=True):
        size = max(abs(first), abs(last))
        if MIN_OFFSET_S <= size <= MAX_OFFSET_S and abs(first - last) <= max(MIN_OFFSET_S / 2, SAME_SHARE * size):
            offset_s = round((first + last) / 2, 1)
            logs.notes.clock_offsets_s[host] = offset_s
            logs.query(f"UPDATE rows SET time = time - {offset_s} WHERE CAST(host AS VARCHAR) = {quote_text(host)}")
