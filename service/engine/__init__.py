"""The engine: int64 rows in, float32 arrays out. It knows no JSON and no HTTP."""
