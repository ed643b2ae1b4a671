"""Reference architectures, and what takes them from a ratings file to a verified bundle."""
