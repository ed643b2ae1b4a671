"""Export of trained models as bundles; `export_model` is the one public function. Importing it imports no framework."""

from recoserve_export.publish import export_model

__all__ = ["export_model"]
