"""One file for each system under test. Each runs in its own process and imports nothing from here."""
