"""Exports a model as a bundle: all steps in order. If one of them fails, nothing is left on the disk."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from recoserve.bundle import contract
from recoserve.bundle.draft import Draft
from recoserve.bundle.golden import Golden
from recoserve.bundle.manifest import NAME, Manifest
from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.pair_scorer import PairScorer
from recoserve_export.inputs.bind import BoundSource, ItemFeatures, bind
from recoserve_export.report import ExportReport, report_of
from recoserve_export.sources.open import OpenOptions, Source, open_source
from recoserve_export.sources.tables import file_digest
from recoserve_export.write import metadata
from recoserve_export.write.metadata import BundleMetadata


class Exportable(Protocol):
    """A model that can be written as a bundle: a dot model or a ranker."""

    @property
    def similarity(self) -> str:
        """The score that is served: cosine, dot or model."""

    @property
    def dim(self) -> int | None:
        """The width of the vectors; None if the model has none."""

    @property
    def graphs(self) -> Mapping[str, str]:
        """The file name of each graph, by its role."""

    @property
    def notes(self) -> Sequence[str]:
        """Warnings for the report; `write` may add some."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Members of the manifest's `source` that describe the model's own score: its formula, the number of its operators."""

    def write(self, folder: Path) -> None:
        """Write tensors and graphs into the folder."""

    def golden(self) -> Golden:
        """The golden sample: scores that every load of the bundle computes again."""

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused if the graphs in the folder differ from the model."""


def export_model(
    model: Any,
    out: str | Path,
    *,
    similarity: str | None = None,
    user_input: str | None = None,
    item_input: str | None = None,
    user_ids: Any = None,
    item_ids: Any = None,
    items: Any = None,
    interactions: Any = None,
    name: str | None = None,
    version: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    source_file: str | Path | None = None,
    architecture: str | None = None,
    item_features: Mapping[str, Any] | None = None,
    feature_names: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> ExportReport:
    """Export a trained model as a bundle in the folder `out`, after a parity check in a fresh process.

    `model` is a live keras.Model or torch.nn.Module, a path, or a pair of tables: arrays or .npy paths, users float [U, d] and
    items float [N, d]. `user_input` and `item_input` name the model's inputs if their names don't say which is which.
    `similarity` is cosine, dot or model; default: cosine if the model is one dot product of its own two embeddings, otherwise
    model. `user_ids` and `item_ids` are a path, a list or an array, one id per row; `items` is a CSV path or a list of dicts in row
    order; `interactions` is a CSV path or a pair (user rows, item rows). `item_features` has, for each further input of the model,
    a path (FILE or FILE:COLUMN) or one value per item; `feature_names` has the names of its values, in the order of the model's
    rows. `name` and `version` default to those of an `out` that ends in NAME/VERSION, with VERSION a number; otherwise to the
    source's name and 1. `metrics` is any JSON object, for the manifest. `source_file` is the file that a live model came from;
    `architecture` is the package.module:callable that builds the module of a state_dict. With `trust` a file that contains code is
    loaded, which runs the code.
    Returns the report. Raises ExportRefused, and leaves no bundle, if items can't be ranked by the model or if a check fails.
    """
    # Arguments are checked before the model is opened, which may take minutes.
    draft = Draft(Path(out))
    name, version = _identity(draft.target, name, version)
    _check_metrics(metrics)
    _check_similarity(similarity)
    features = ItemFeatures(item_features or {}, feature_names or {})
    source = open_source(model, OpenOptions(user_input, item_input, architecture, features.widths, trust))
    bound = bind(source, user_ids, item_ids, features)
    exportable = _prepare(bound.source, similarity)
    bundle_metadata = metadata.read(bound.ids, items, interactions)
    with draft:
        parity = _write(draft, exportable, bundle_metadata)
        manifest = _publish(
            draft,
            bound,
            exportable,
            bundle_metadata,
            name=name or _valid_name(source.name),
            version=version or "1",
            source=_provenance(source, exportable, source_file),
            parity=parity,
            metrics=dict(metrics or {}),
        )
    return report_of(Path(out), manifest, (*source.notes, *bound.notes, *exportable.notes, *bundle_metadata.notes))


def _prepare(source: DotSource | PairScorer, similarity: str | None) -> Exportable:
    # Imported here because both need onnx: it is an extra, which `recoserve --help` must neither need nor wait for.
    try:
        from recoserve_export import dot_model, pair_model
    except ImportError as error:
        raise ExportRefused(f"an export needs onnx ({error}): pip install 'recoserve[export]'") from None
    if isinstance(source, DotSource):
        return dot_model.prepare(source, similarity)
    return pair_model.prepare(source, similarity)


def _write(draft: Draft, exportable: Exportable, bundle_metadata: BundleMetadata) -> dict[str, Any]:
    """Write every file except the manifest; returns the manifest's figures of parity."""
    try:
        exportable.write(draft.folder)
    except OSError as error:
        raise ExportRefused(f"can't write the tables: {error.strerror}") from None
    draft.add_arrays(contract.GOLDEN, exportable.golden().arrays())  # before the check, which reads it from the folder
    parity = exportable.check(draft.folder)
    metadata.write(draft, bundle_metadata)
    return parity


def _publish(draft: Draft, bound: BoundSource, exportable: Exportable, bundle_metadata: BundleMetadata, **members: Any) -> Manifest:
    """Write the manifest and give the folder its final name."""
    return draft.publish(
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        similarity=exportable.similarity,
        users=bound.ids["user"].count,
        items=bound.ids["item"].count,
        dim=exportable.dim,
        ids={side: ids.kind for side, ids in bound.ids.items()},
        graphs=dict(exportable.graphs),
        interactions=len(bundle_metadata.interactions) if bundle_metadata.interactions else 0,
        **members,
    )


def _identity(target: Path, name: str | None, version: str | None) -> tuple[str | None, str | None]:
    """The options `name` and `version`; by default those of a target NAME/VERSION, with VERSION a number, or None.

    Raises ExportRefused if an option isn't valid in a manifest.
    """
    for option, text in (("name", name), ("version", version)):
        if text is not None and not NAME.fullmatch(text):
            raise ExportRefused(f"{option} {text!r} must be 1 to 128 characters of A-Za-z0-9._-, the first a letter or digit")
    if target.name.isdigit():
        return name or _valid_name(target.parent.name), version or target.name
    return name, version


def _valid_name(text: str) -> str:
    """The text as a name that a manifest may have: other characters become hyphens, and it is cut to 128 characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:128] or "model"


def _check_metrics(metrics: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(dict(metrics or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportRefused(f"metrics can't be written as JSON: {error}") from None


def _check_similarity(similarity: str | None) -> None:
    if similarity is not None and similarity not in contract.SIMILARITIES:
        raise ExportRefused(f"similarity {similarity!r} must be one of {', '.join(contract.SIMILARITIES)}")


def _provenance(source: Source, exportable: Exportable, source_file: str | Path | None) -> dict[str, Any]:
    """The manifest's `source`: the framework, its versions, the model's own score and, if there is a source file, its digest."""
    digest = file_digest(Path(source_file)) if source_file else source.digest
    provenance = {"framework": source.framework, "versions": dict(source.versions), **exportable.provenance}
    return {**provenance, "file_digest": digest} if digest else provenance
