"""Models of files and texts beside a table: export and runtime."""
