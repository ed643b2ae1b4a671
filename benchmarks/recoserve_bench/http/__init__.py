"""The same requests over HTTP: each server in a process of its own, loaded in turns by one load generator."""
