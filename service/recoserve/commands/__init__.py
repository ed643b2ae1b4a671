"""The commands of `recoserve`, each imported by `recoserve.cli` when it is called."""
