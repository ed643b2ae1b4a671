"""Describes a bundle's vectors: their lengths, nearest items, and a map. Needs only NumPy; knows no JSON, HTTP or output file."""
