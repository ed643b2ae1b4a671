"""Exact top-k over all items, without HTTP: each system in a process of its own, measured in turns."""
