"""What every part of the server uses: settings, request and response, keys, limits, errors, strict JSON.

config.py has every setting with its limits (bodies, rows, time), rate_limits.py the rate that a key may use.
"""
