"""Watches: sinks that turn a server's events into Prometheus metrics, live figures, an access log and an audit log."""
