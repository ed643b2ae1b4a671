"""The gate: a bundle's graphs compared with the source framework's own scores, before the bundle is written."""
