"""A scorer as a graph: opened, bound to its catalogue, run in pieces, recognised as one dot product."""
