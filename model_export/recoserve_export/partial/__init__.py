"""Item-side partial evaluation: a scorer of pairs, taken apart so that a whole catalogue can be ranked with it."""
