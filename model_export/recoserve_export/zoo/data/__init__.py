"""A ratings file and an items file, as rows."""
