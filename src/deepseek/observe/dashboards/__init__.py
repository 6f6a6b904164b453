"""Dashboards for Grafana: a table of panels -> JSON by Grafana's own foundation SDK."""
