"""What a bundle holds: graphs, tensors, the int8 index and the item tables, written in pieces."""
