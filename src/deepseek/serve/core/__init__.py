"""What every part of the server uses: settings, request and response, keys, limits, errors, strict JSON."""
