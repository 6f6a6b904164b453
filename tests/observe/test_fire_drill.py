"""A fire drill with real processes (support/servers/drill.py): each fault is told to a webhook, and so is its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.servers.drill import RUNBOOKS, fire_drill
from support.servers.watching import Webhook, needs_alertmanager, needs_prometheus

pytestmark = [pytest.mark.slow, needs_prometheus, needs_alertmanager]


def test_each_fault_reaches_the_webhook_and_so_does_its_end(tmp_path: Path) -> None:
    webhooks: list[Webhook] = []
    try:
        names = [response.name for response in fire_drill(tmp_path, webhooks)]
    except PermissionError as error:
        pytest.skip(str(error))
    assert len(names) == 10
    sent_alerts = [alert for notification in webhooks[0].notifications for alert in notification["alerts"]]
    assert all(alert["annotations"]["runbook_url"].startswith(f"{RUNBOOKS}/Deepseek") for alert in sent_alerts)
    assert all(alert["labels"]["service"] == "deepseek" for alert in sent_alerts)
