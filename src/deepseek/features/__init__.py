"""Features of payments that look back over time, by key and by who met whom."""
