"""The data that a model is trained on: a ratings file and an items file, read as rows."""
