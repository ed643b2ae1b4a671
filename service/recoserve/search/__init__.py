"""Ranks and scores: takes int64 rows and float32 arrays, returns rows and scores. It knows no id, no JSON and no HTTP."""
