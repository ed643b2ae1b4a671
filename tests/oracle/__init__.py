"""The oracle: the response that every endpoint must give, by brute force in float64, apart from the engine; and random requests."""
