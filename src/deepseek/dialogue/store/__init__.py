"""Where conversations are kept: in one SQLite file that several front ends share, or in Redis for several machines."""
