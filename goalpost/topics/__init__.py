"""Topics and schemas: planned, applied, checked, read."""
