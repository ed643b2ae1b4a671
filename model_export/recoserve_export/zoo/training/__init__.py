"""One run of the reference trainer: fit, measure, sweep."""
