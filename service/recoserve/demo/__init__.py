"""The built-in demo: a made-up library, its trained bundle, and the script that makes its data (`library.py`)."""

from pathlib import Path

BUNDLE = Path(__file__).parent / "bundle"
