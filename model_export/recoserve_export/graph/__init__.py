"""A scorer as a graph: bound to its users and items, run in parts, recognised as one dot product."""
