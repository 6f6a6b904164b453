"""Watches: events to metrics, live figures and logs; dashboards, alert rules and runbooks from one table."""
