"""What every endpoint is held against: a brute force in float64, written apart from the engine, and random requests for it."""
