"""Alert rules for Prometheus: a table of alerts with the user's thresholds -> rule file, its unit tests, runbooks."""
