"""Recommendations for all users, written to a Parquet file: in bounded memory, and resumable after any interruption."""
