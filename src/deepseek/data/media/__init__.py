"""Files -> arrays: pictures, sounds, films, scans, series and texts, each read by its first bytes and within limits."""
