"""One file for each server under load; each runs in a process and an empty folder of its own and imports nothing from here.

python -P servers/NAME.py PORT BUNDLE
"""
