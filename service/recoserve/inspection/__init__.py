"""What a bundle's vectors look like: their lengths, who is near to whom, and a map. NumPy only; no JSON, no HTTP, no disk."""
