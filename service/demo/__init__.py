"""The built-in demo: a made-up library, and the bundle that was trained on it."""
