"""Writes recommendations for all users to a Parquet file, in bounded memory; a run can be resumed after any interruption."""
