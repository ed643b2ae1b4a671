"""The compiled search: the k largest products of a query with a catalogue, exactly, by way of an int8 copy."""
