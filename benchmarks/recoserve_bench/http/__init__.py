"""The same question over HTTP: each server in a process of its own, loaded in turns by one generator."""
