"""The built-in demo: a bundle of a model trained on a made-up library, and the script that generates the data (`library.py`)."""

from pathlib import Path

BUNDLE = Path(__file__).parent / "bundle"
