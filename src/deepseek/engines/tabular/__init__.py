"""Models of tables: export to ONNX, engines, the choice among them, and the runtime that answers raw rows."""
