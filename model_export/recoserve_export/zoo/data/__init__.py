"""What a model is trained on: a ratings file and an items file, as rows."""
