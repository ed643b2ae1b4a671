"""Where models come from: each framework is imported in one file, and only when a model of its kind is exported."""
