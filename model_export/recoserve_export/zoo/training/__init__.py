"""The reference trainer: fits models, measures them, and compares several."""
