"""The last hours of a server for its console: a ring of summaries, the alerts that fire, and both drawn.

    history = History(live, read_gauges)         # history.py: sums up every 10 s, within a few hundred kB
    alerts = firing_alerts(history.frame(), thresholds)     # alerts.py: the exported rules' own thresholds
    page = HistoryPages(history, ...)            # pages.py: GET /v1/history

For people without Prometheus and Grafana. What needs other sources than the server itself is left to these.
"""
