"""The one border between external ids and rows: requests to queries, rankings to results."""
