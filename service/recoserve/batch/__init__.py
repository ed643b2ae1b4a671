"""The recommendations of all users, as a Parquet file: in bounded memory, and resumable after any end."""
