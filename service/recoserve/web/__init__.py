"""HTTP: JSON, external ids, status codes. Nothing inward of this room knows any of them."""
