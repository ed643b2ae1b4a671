"""Bundles on disk: format version 1, its checks, and the arrays in a bundle. Needs only the standard library and NumPy."""
