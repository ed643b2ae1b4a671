"""Reads what comes beside a model, ids, metadata, interactions and features, and binds it to the model's rows."""
