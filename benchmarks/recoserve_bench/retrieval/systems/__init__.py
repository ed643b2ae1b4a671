"""One file for each system under test; they run in their own processes and import nothing from here."""
