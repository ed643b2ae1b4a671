"""Every kind of model that must export, built, trained, saved, exported, served, and held against the framework's own scores."""
