"""How requests and answers look on the wire: records by column name, the Open Inference Protocol, errors, OpenAPI."""
