"""The learning path as a page: a map, lab texts beside what the last check said, progress, skills as a radar."""
