"""Labels in the formats of others: CSV, Label Studio's JSON, CoNLL, COCO and YOLO, both ways (CSV goes out only)."""
