"""The bundle on disk: format version 1, its checks, and the arrays in it. Standard library and NumPy only."""
