"""The peers' environments, one for each."""
