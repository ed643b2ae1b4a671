"""Search: int64 rows and float32 arrays in, rows and scores out. It knows no id, no JSON and no HTTP."""
