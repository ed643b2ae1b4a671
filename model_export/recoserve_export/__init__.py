"""Exports trained models as bundles. `export_model` is the only public function; importing it imports no framework."""

from recoserve_export.publish import export_model

__all__ = ["export_model"]
