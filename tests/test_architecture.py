"""The doors of docs/architecture.md, checked by reading imports."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
    for package in ("service", "model_export")
    for path in sorted((ROOT / package).rglob("*.py"))
}

# Left may import right, never back. A module belongs to the first prefix that it starts with.
LEAVES = [
    "recoserve.fsync",
    "recoserve.errors",
    "recoserve.malloc",
    "recoserve.settings",
    "recoserve.metrics",
    "recoserve.strict_json",
    "recoserve.demo",
]
LAYERS = [
    ["recoserve.client"],  # a program of its own; nothing imports it
    ["recoserve.__main__"],
    ["recoserve.cli"],
    ["recoserve.web.server"],
    ["recoserve.web.app", "recoserve.web.connection"],
    [
        "recoserve.web.routes",
        "recoserve.web.encoders",
        "recoserve.web.operations",
        "recoserve.web.json_route",
        "recoserve.web.limits",
        "recoserve.web.context",
        "recoserve.web.problems",
        "recoserve.recommend.requests",
        "recoserve.web.schemas",
        "recoserve.web.logs",
        "recoserve.web.access_log",
        "recoserve.web.disconnects",
    ],
    ["recoserve.recommend.recommender"],
    ["recoserve.recommend.results", "recoserve.recommend.query_builder"],
    ["recoserve.batch"],
    ["recoserve.scheduling.registry", "recoserve.scheduling.batcher"],
    ["recoserve.scheduling.loader"],
    ["recoserve.search.model"],
    ["recoserve.search.kernel_search"],
    ["recoserve.search.bounded_search", "recoserve.search.vectors", "recoserve.search.popularity"],
    ["recoserve.recommend.ids", "recoserve.recommend.wanted"],
    [
        "recoserve.search.ranking",
        "recoserve.search.session",
        "recoserve.search.cpu",
        "recoserve.search.query",
        "recoserve.search.filters",
    ],
    ["recoserve.inspection"],
    ["recoserve.search.kernel"],
    ["recoserve.bundle"],
    LEAVES,
]

# Who may import a framework: modules, or rooms whose name the module's begins with.
FRAMEWORKS = {
    "onnxruntime": ("recoserve.search.session", "recoserve_export.verify.parity", "recoserve_export.graph.program"),
    "onnx": (
        "recoserve_export.write.transposed",
        "recoserve_export.write.dot_graphs",
        "recoserve_export.partial.",
        "recoserve_export.write.item_tables",
        "recoserve_export.write.ranking_graphs",
        "recoserve_export.graph.program",
        "recoserve_export.write.int8_index",
        "recoserve_export.sources.onnx",
    ),
    "keras": ("recoserve_export.sources.keras", "recoserve_export.sources.kmr", "recoserve_export.zoo.keras_"),
    "torch": ("recoserve_export.sources.torch", "recoserve_export.sources.keras_scorer", "recoserve_export.zoo."),
    "pyarrow": ("recoserve.batch.table",),
    "safetensors": ("recoserve_export.sources.tables",),
    "fastapi_offline": ("recoserve.web.app",),
    "httpx": ("recoserve.client.",),
    "uvicorn": ("recoserve.web.server", "recoserve.web.connection"),
    "ctypes": ("recoserve.search.kernel.", "recoserve.malloc"),
}
STATUS_CODES = {"fastapi", "starlette", "pydantic", "uvicorn", "httpx", "http"}


def imports(path):
    """(module, whether it runs when the file is imported) for every import in a file, full names."""
    tree = ast.parse(path.read_text())
    inner = {id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import hides which door it takes"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((name if name in MODULES else node.module, id(node) not in inner) for name in names)


def layer(module):
    found = [place for place, names in enumerate(LAYERS) for name in names if module == name or module.startswith(name + ".")]
    return found[0] if found else None


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("service.")])
def test_imports_go_inward_only(module):
    own = layer(module)
    if own is None:
        assert module.endswith("__init__"), f"{module} has no place in the layers"
        return
    for imported, _ in imports(MODULES[module]):
        if imported.startswith("service."):
            assert layer(imported) is not None and layer(imported) >= own, f"{module} reaches up to {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_packages_meet_only_at_the_bundle(module):
    """`model_export` knows `recoserve.bundle` and the errors; `service` doesn't know `model_export`."""
    found = {imported for imported, _ in imports(MODULES[module])}
    if module.startswith("service"):
        assert not {name for name in found if name.startswith("model_export")}
    else:
        allowed = ("recoserve.bundle", "recoserve.errors", "recoserve.strict_json")
        assert not {name for name in found if name.startswith("service") and not name.startswith(allowed)}


@pytest.mark.parametrize("module", MODULES)
def test_the_benchmarks_look_in_from_outside(module):
    assert not {imported for imported, _ in imports(MODULES[module]) if imported.startswith("benchmarks")}


@pytest.mark.parametrize("module", MODULES)
def test_each_framework_is_imported_in_its_own_files(module):
    for imported, _ in imports(MODULES[module]):
        assert module.startswith(FRAMEWORKS.get(imported.split(".")[0], module)), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("recoserve.search", "recoserve.bundle"))])
def test_inward_of_the_web_nothing_knows_http(module):
    assert not {imported for imported, _ in imports(MODULES[module]) if imported.split(".")[0] in STATUS_CODES}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("recoserve.client")])
def test_the_client_knows_what_goes_over_the_wire_and_no_more(module):
    """A program that asks a service loads no engine and no server."""
    found = {imported for imported, _ in imports(MODULES[module])}

    assert {name for name in found if name.startswith("service.") and not name.startswith("recoserve.client.")} <= {
        "recoserve.errors",
        "recoserve.web.schemas",
    }
    assert not {name.split(".")[0] for name in found} & {"fastapi", "starlette", "uvicorn", "onnxruntime", "numpy"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("recoserve.bundle")])
def test_the_bundle_room_needs_the_standard_library_and_numpy_alone(module):
    tops = {imported.split(".")[0] for imported, _ in imports(MODULES[module])}

    assert tops <= set(sys.stdlib_module_names) | {"numpy", "service"}


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.startswith("recoserve.bundle") and not name.endswith(("archive", "shelf"))]
)
def test_only_the_archive_touches_the_disk(module):
    """`shelf` looks which folders there are; nothing else in the room knows a path."""
    assert "pathlib" not in {imported for imported, _ in imports(MODULES[module])}


def test_settings_are_read_at_the_border():
    readers = {module for module, path in MODULES.items() if "recoserve.settings" in {imported for imported, _ in imports(path)}}

    assert all(reader == "recoserve.cli" or reader.startswith("recoserve.web.") for reader in readers)


def test_the_command_line_of_the_exporter_is_light():
    """`recoserve --help` must not wait for a framework."""
    heavy = {"torch", "keras", "onnx", "onnxruntime", "safetensors"}
    reached, waiting = set(), ["recoserve_export.cli", "recoserve_export.zoo.command", "model_export.__init__"]
    while waiting:
        module = waiting.pop()
        for imported, at_once in imports(MODULES[module]):
            assert not (at_once and imported.split(".")[0] in heavy), f"{module} imports {imported} at once"
            if at_once and imported in MODULES and imported not in reached:
                reached.add(imported)
                waiting.append(imported)


def test_init_files_hold_a_docstring_and_little_else():
    for module, path in MODULES.items():
        if module.endswith("__init__"):
            tree = ast.parse(path.read_text())
            assert ast.get_docstring(tree), f"{path} has no docstring"
            defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            assert defined == [], f"{path} defines {defined}"


def test_no_import_cycle():
    graph = {
        module: {imported for imported, at_once in imports(path) if at_once and imported in MODULES}
        for module, path in MODULES.items()
    }

    def visit(module, way):
        assert module not in way, f"cycle: {' -> '.join([*way, module])}"
        if module not in done:
            for imported in graph[module]:
                visit(imported, [*way, module])
            done.add(module)

    done = set()
    for module in graph:
        visit(module, [])


def test_no_function_is_longer_than_60_lines():
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name}"
