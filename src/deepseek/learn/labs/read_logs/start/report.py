"""What a day of requests was like."""


def summarize(lines: list[str]) -> dict[str, object]:
    """num_requests, failed_share, p95_ms, worst_hour, worst_client and num_broken of a log; see the task."""
    return {}
