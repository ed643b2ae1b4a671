"""Every endpoint against a brute force in float64, on MovieLens: the oracle of the tests, at any length and over real sockets."""
