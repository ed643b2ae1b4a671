"""Models that score pairs, ranked over a catalogue: taken apart at export, or run on tiled inputs as people do without that."""
