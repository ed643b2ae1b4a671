"""One file for each server under load; they run in their own processes and import nothing from here.

python -P servers/NAME.py PORT BUNDLE
"""
