"""Writes the files of a bundle: graphs, tensors, the int8 index, item tables, ids and metadata."""
