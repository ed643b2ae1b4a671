"""The built-in demo: a bundle trained on a made-up library, and the script that generates its data (`library.py`)."""

from pathlib import Path

BUNDLE = Path(__file__).parent / "bundle"
