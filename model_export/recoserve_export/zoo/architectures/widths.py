"""Widths that the architectures of both frameworks share."""

HIDDEN = 64  # of a layer behind the embeddings


def genre_width(dim: int) -> int:
    """A genre's width beside vectors of `dim`: 2/5 of it, rounded up; 3 → 2, 50 → 20."""
    return (2 * dim + 4) // 5
