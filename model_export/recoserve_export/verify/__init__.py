"""The gate: what a bundle answers, held against the source framework's own scores."""
