"""Partial evaluation: splits a pair scorer's graph into what depends on the user alone, on the item alone, and on both."""
