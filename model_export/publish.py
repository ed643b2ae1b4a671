"""From a model to a bundle: every step in order, and nothing left behind unless all of them hold."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from model_export import tensors
from model_export.companions import Ids, read_ids, read_interactions, read_items
from model_export.formula import DotSource, Formula, Reference, recognise, sample_rows
from model_export.opening import open_source
from service.bundle import contract
from service.bundle.archive import Draft
from service.bundle.catalogue import SeenPairs, lines
from service.bundle.golden import Golden
from service.bundle.manifest import NAME, Manifest
from service.errors import ExportRefused

GOLDEN_USERS, GOLDEN_TOP, GOLDEN_ITEMS = 32, 10, 64


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
    dim: int
    ids: Mapping[str, str]
    parity: Mapping[str, Any]
    warnings: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        own = f", its own score is {self.formula}" if self.formula else ""
        found = self.parity
        said = [
            f"{self.path}: {self.name} version {self.version}, {self.users} users x {self.items} items, {self.dim} dimensions{own}",
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
) -> Report:
    """Export a trained model as a bundle in the folder `out`, after a parity check in a process of its own.

    `model` is a live keras.Model or torch.nn.Module, a path, or a pair of arrays (users float [U, d], items float [N, d]).
    `similarity` is cosine (default), dot or model. `user_ids` and `item_ids` are a path, a list or an array, one id per row;
    `items` a CSV path or a list of dicts in row order; `interactions` a CSV path or a pair (user rows, item rows).
    `source_file` is the file a live model came from; `architecture` package.module:callable, that builds a state_dict's module.
    Raises ExportRefused, and writes nothing, where the model is not a dot model or anything fails a check.
    """
    from model_export import parity  # not at the top: it is a program too, and the package would import it before it runs

    draft = Draft(Path(out))
    name, version = _identity(draft.target, name, version)
    _check_metrics(metrics)
    source = open_source(model, user_input, item_input, architecture)
    own, framework_pairs, framework_gap = recognise(source)
    kind, formula = _choose(similarity, own)
    reference = Reference(source.users, source.items, formula)
    ids = {"user": read_ids("user", user_ids, source.users.rows), "item": read_ids("item", item_ids, source.items.rows)}
    catalogue, notes = read_items(items, ids["item"]) if items is not None else (None, [])
    seen, more = read_interactions(interactions, ids["user"], ids["item"]) if interactions is not None else (None, [])
    with draft:
        _write_graphs(draft, source, formula)
        draft.add_arrays(contract.GOLDEN, _golden(source, reference, kind).arrays())
        own_figures = {"framework_pairs": framework_pairs, "framework_largest_difference": framework_gap}
        figures = {**parity.check(draft.folder, reference), **own_figures, "tolerance": parity.tolerance()}
        _write_companions(draft, ids, catalogue, seen)
        sealed = draft.publish(
            name=name or _plain_name(source.name),
            version=version or "1",
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            similarity=kind,
            users=source.users.rows,
            items=source.items.rows,
            dim=source.users.width,
            ids={side: each.kind for side, each in ids.items()},
            graphs={**contract.GRAPHS, **contract.SCREEN_GRAPHS},
            interactions=len(seen) if seen else 0,
            source=_provenance(source, own, source_file),
            parity=figures,
            metrics=dict(metrics or {}),
        )
    return _report(Path(out), sealed, own, (*notes, *more))


def _report(out: Path, sealed: Manifest, own: Formula | None, warnings: tuple[str, ...]) -> Report:
    members = ("name", "version", "similarity", "users", "items", "dim", "ids", "parity")
    shared = {member: getattr(sealed, member) for member in members}
    return Report(path=out, formula=str(own) if own else None, warnings=warnings, **shared)


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


def _choose(similarity: str | None, own: Formula | None) -> tuple[str, Formula]:
    """The similarity to serve and its closed form; cosine unless told otherwise."""
    kind = similarity or "cosine"
    if kind not in contract.SIMILARITIES:
        raise ExportRefused(f"similarity {kind!r} must be one of {', '.join(contract.SIMILARITIES)}")
    if kind != "model":
        return kind, Formula(cosine=kind == "cosine")
    if own is None:
        raise ExportRefused("plain tables have no score of their own: choose similarity cosine or dot")
    return kind, own


def _write_graphs(draft: Draft, source: DotSource, formula: Formula) -> None:
    try:
        from model_export import graphs, screen
    except ImportError as error:
        raise ExportRefused(f"needs onnx ({error}): pip install 'recoserve[export]'") from None
    try:
        spans = tensors.write(draft.folder / contract.TENSORS, source.users, source.items, formula)
    except OSError as error:
        raise ExportRefused(f"can't write the tables: {error.strerror}") from None
    graphs.write(draft.folder, *spans, formula)
    screen.write(draft.folder, *spans, source.items, formula)


def _golden(source: DotSource, reference: Reference, kind: str) -> Golden:
    """A sample with the framework's own scores where they are what is served, and the float64 reference's otherwise."""
    users = sample_rows(source.users.rows, GOLDEN_USERS, seed=0)
    items = sample_rows(source.items.rows, GOLDEN_ITEMS, seed=1)
    rows, products = reference.top(users, min(source.items.rows, GOLDEN_TOP))
    best, sampled = reference.formula.finish(products), reference.formula.finish(reference.products(users, items))
    if kind == "model" and source.scores is not None:
        best = source.scores(np.repeat(users, rows.shape[1]), rows.reshape(-1)).reshape(best.shape)
        sampled = source.scores(np.repeat(users, len(items)), np.tile(items, len(users))).reshape(sampled.shape)
    return Golden(users, rows, best, items, sampled)


def _write_companions(draft: Draft, ids: Mapping[str, Ids], catalogue: Sequence[Any] | None, seen: SeenPairs | None) -> None:
    for side, each in ids.items():
        name = contract.id_file(side, each.kind)
        if name and isinstance(each.values, np.ndarray):
            draft.add_array(name, each.values)
        elif name and each.values is not None:
            draft.add_lines(name, lines(each.values))
    if catalogue is not None:
        draft.add_lines(contract.CATALOGUE, _metadata_lines(catalogue))
    if seen:
        offsets, items = seen.arrays
        draft.add_array(contract.SEEN_OFFSETS, offsets)
        draft.add_array(contract.SEEN_ITEMS, items)


def _metadata_lines(catalogue: Sequence[Any]) -> Iterator[bytes]:
    for row, entry in enumerate(catalogue):
        try:
            yield from lines([entry])
        except (TypeError, ValueError) as error:
            raise ExportRefused(f"items: the metadata of row {row} can't be written as JSON: {error}") from None


def _provenance(source: DotSource, own: Formula | None, source_file: str | Path | None) -> dict[str, Any]:
    from model_export.sources.tables import file_digest

    digest = file_digest(Path(source_file)) if source_file else source.digest
    found = {"framework": source.framework, "versions": dict(source.versions), "formula": str(own) if own else None}
    return {**found, "file_digest": digest} if digest else found
