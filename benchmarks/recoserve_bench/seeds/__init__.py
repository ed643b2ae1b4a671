"""Every kind of model that must export: built, trained, saved, exported, served, and compared with the framework's own scores."""
