"""Exact top-k over a whole catalogue: each system in a process of its own, asked in turns."""
