"""Looking at a bundle's vectors: their lengths, nearest items, and a map. NumPy only; no JSON, no HTTP, no disk."""
