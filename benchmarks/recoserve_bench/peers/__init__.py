"""The peers' environments: the packages that each needs, and how they are installed."""
