"""The OpenAPI document of what is loaded."""
