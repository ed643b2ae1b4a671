"""From a model to a bundle: every step in order, and nothing left behind unless all of them hold."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recoserve.bundle import contract
from recoserve.bundle.archive import Draft
from recoserve.bundle.golden import Golden
from recoserve.bundle.interactions import Interactions
from recoserve.bundle.item_metadata import lines
from recoserve.bundle.manifest import NAME, Manifest
from recoserve.errors import ExportRefused
from recoserve_export.graph.dot_score import DotSource
from recoserve_export.graph.pair_scorer import Pairs
from recoserve_export.inputs.bind import Features, bind
from recoserve_export.inputs.metadata import Ids, read_interactions, read_items
from recoserve_export.sources.open import Opening, Source, open_source
from recoserve_export.sources.tables import file_digest


class Exportable(Protocol):
    """A model ready to be written: one dot product, or a ranker."""

    @property
    def similarity(self) -> str:
        """What is served."""

    @property
    def dim(self) -> int | None:
        """Width of the vectors, where it has any."""

    @property
    def graphs(self) -> Mapping[str, str]:
        """Role -> file."""

    @property
    def notes(self) -> Sequence[str]:
        """What the report has to tell, once all is written."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the manifest says of the model's own score."""

    def write(self, folder: Path) -> None:
        """Write tensors and graphs."""

    def golden(self) -> Golden:
        """The sample that travels."""

    def check(self, folder: Path) -> dict[str, Any]:
        """The manifest's figures of parity; raises ExportRefused where the graphs differ."""


@dataclass(frozen=True)
class Report:
    """What was exported, and how close the written graphs are to the model."""

    path: Path
    name: str
    version: str
    similarity: str
    formula: str | None
    users: int
    items: int
    dim: int | None
    ids: Mapping[str, str]
    parity: Mapping[str, Any]
    left: int = 0
    warnings: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        own = f", its own score is {self.formula}" if self.formula else ""
        shape = f"{self.dim} dimensions{own}" if self.dim else f"{self.left} operators are left for each pair"
        found = self.parity
        said = [
            f"{self.path}: {self.name} version {self.version}, {self.users} users x {self.items} items, {shape}",
            f"similarity {self.similarity}; user ids: {self.ids['user']}, item ids: {self.ids['item']}",
            f"parity: {found['pairs']} pairs compared, largest difference {found['largest_difference']:.2g}, "
            f"top-{found['k']} agreement {found['top_k_agreement']:.0%} of {found['users']} users",
        ]
        if found["framework_pairs"]:
            gap = found["framework_largest_difference"]
            said.append(f"framework's own forward: {found['framework_pairs']} pairs compared, largest difference {gap:.2g}")
        return "\n".join([*said, *(f"warning: {warning}" for warning in self.warnings)])


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
) -> Report:
    """Export a trained model as a bundle in the folder `out`, after a parity check in a process of its own.

    `model` is a live keras.Model or torch.nn.Module, a path, or a pair of arrays (users float [U, d], items float [N, d]).
    `similarity` is cosine, dot or model; cosine where the model is one dot product of its two vectors, and model otherwise.
    `user_ids` and `item_ids` are a path, a list or an array, one id per row; `items` a CSV path or a list of dicts in row order;
    `interactions` a CSV path or a pair (user rows, item rows). `item_features` has, for each further input of the model, a path
    (FILE or FILE:COLUMN) or one value per item; `feature_names` the names of its values, in the order of the model's rows.
    `source_file` is the file a live model came from; `architecture` package.module:callable, that builds a state_dict's module.
    `trust` lets a file that holds code be loaded, which runs it.
    Raises ExportRefused, and writes nothing, where the model can't be ranked by or anything fails a check.
    """
    draft = Draft(Path(out))
    name, version = _identity(draft.target, name, version)
    _check_metrics(metrics)
    _check_similarity(similarity)
    features = Features(item_features or {}, feature_names or {})
    source = open_source(model, Opening(user_input, item_input, architecture, features.widths, trust))
    bound = bind(source, user_ids, item_ids, features)
    chosen = _prepared(bound.source, similarity)
    companions = _read_companions(bound.ids, items, interactions)
    with draft:
        figures = _write(draft, chosen, companions)
        sealed = draft.publish(
            name=name or _plain_name(source.name),
            version=version or "1",
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            similarity=chosen.similarity,
            users=bound.ids["user"].count,
            items=bound.ids["item"].count,
            dim=chosen.dim,
            ids={side: each.kind for side, each in bound.ids.items()},
            graphs=dict(chosen.graphs),
            interactions=len(companions.seen) if companions.seen else 0,
            source=_provenance(source, chosen, source_file),
            parity=figures,
            metrics=dict(metrics or {}),
        )
    return _report(Path(out), sealed, (*source.notes, *bound.notes, *chosen.notes, *companions.notes))


@dataclass(frozen=True)
class Companions:
    """What goes into a bundle beside the model, on the catalogue's rows."""

    ids: Mapping[str, Ids]
    catalogue: Sequence[Any] | None
    seen: Interactions | None
    notes: tuple[str, ...]


def _read_companions(ids: Mapping[str, Ids], items: Any, interactions: Any) -> Companions:
    catalogue, of_items = read_items(items, ids["item"]) if items is not None else (None, [])
    seen, of_pairs = read_interactions(interactions, ids["user"], ids["item"]) if interactions is not None else (None, [])
    return Companions(ids, catalogue, seen, (*of_items, *of_pairs))


def _write(draft: Draft, chosen: Exportable, companions: Companions) -> dict[str, Any]:
    """Everything but the manifest; the figures of parity."""
    try:
        chosen.write(draft.folder)
    except OSError as error:
        raise ExportRefused(f"can't write the tables: {error.strerror}") from None
    draft.add_arrays(contract.GOLDEN, chosen.golden().arrays())
    figures = chosen.check(draft.folder)
    _write_companions(draft, companions)
    return figures


def _report(out: Path, sealed: Manifest, warnings: tuple[str, ...]) -> Report:
    members = ("name", "version", "similarity", "users", "items", "dim", "ids", "parity")
    shared = {member: getattr(sealed, member) for member in members}
    own, left = sealed.source["formula"], sealed.source.get("operators_per_pair", 0)
    return Report(path=out, formula=own, left=left, warnings=warnings, **shared)


def _prepared(source: DotSource | Pairs, similarity: str | None) -> Exportable:
    try:
        from recoserve_export import dot_model, pair_model
    except ImportError as error:
        raise ExportRefused(f"needs onnx ({error}): pip install 'recoserve[export]'") from None
    if isinstance(source, DotSource):
        return dot_model.dot_model(source, similarity)
    return pair_model.pair_model(source, similarity)


def _identity(target: Path, name: str | None, version: str | None) -> tuple[str | None, str | None]:
    """Name and version as given, or from a target that looks like NAME/VERSION; None where neither tells."""
    for option, given in (("name", name), ("version", version)):
        if given is not None and not NAME.fullmatch(given):
            raise ExportRefused(f"{option} {given!r} must be 1 to 128 characters of A-Za-z0-9._-, the first a letter or digit")
    if target.name.isdigit():
        return name or _plain_name(target.parent.name), version or target.name
    return name, version


def _plain_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:128] or "model"


def _check_metrics(metrics: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(dict(metrics or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportRefused(f"metrics can't be written as JSON: {error}") from None


def _check_similarity(similarity: str | None) -> None:
    if similarity is not None and similarity not in contract.SIMILARITIES:
        raise ExportRefused(f"similarity {similarity!r} must be one of {', '.join(contract.SIMILARITIES)}")


def _write_companions(draft: Draft, companions: Companions) -> None:
    for side, each in companions.ids.items():
        name = contract.id_file(side, each.kind)
        if name and isinstance(each.values, np.ndarray):
            draft.add_array(name, each.values)
        elif name and each.values is not None:
            draft.add_lines(name, lines(each.values))
    if companions.catalogue is not None:
        draft.add_lines(contract.ITEM_METADATA, _metadata_lines(companions.catalogue))
        draft.add_columns()
    if companions.seen:
        offsets, items = companions.seen.arrays
        draft.add_array(contract.INTERACTION_OFFSETS, offsets)
        draft.add_array(contract.INTERACTION_ITEMS, items)


def _metadata_lines(catalogue: Sequence[Any]) -> Iterator[bytes]:
    for row, entry in enumerate(catalogue):
        try:
            yield from lines([entry])
        except (TypeError, ValueError) as error:
            raise ExportRefused(f"items: the metadata of row {row} can't be written as JSON: {error}") from None


def _provenance(source: Source, chosen: Exportable, source_file: str | Path | None) -> dict[str, Any]:
    digest = file_digest(Path(source_file)) if source_file else source.digest
    found = {"framework": source.framework, "versions": dict(source.versions), **chosen.provenance}
    return {**found, "file_digest": digest} if digest else found
