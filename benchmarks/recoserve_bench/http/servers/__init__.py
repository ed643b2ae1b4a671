"""One file for each server under load. Each runs in its own process and an empty folder, and imports nothing from here.

python -P servers/NAME.py PORT BUNDLE
"""
