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
    "service.durable",
    "service.errors",
    "service.heap",
    "service.settings",
    "service.metrics",
    "service.strict_json",
    "service.demo",
]
LAYERS = [
    ["service.client"],  # a program of its own; nothing imports it
    ["service.__main__"],
    ["service.cli"],
    ["service.web.server"],
    ["service.web.app", "service.web.connection"],
    [
        "service.web.routes",
        "service.web.answers",
        "service.web.operations",
        "service.web.json_route",
        "service.web.limits",
        "service.web.context",
        "service.web.problems",
        "service.web.requests",
        "service.web.schemas",
        "service.web.logs",
        "service.web.journal",
        "service.web.departures",
    ],
    ["service.engine.recommender"],
    ["service.engine.answers", "service.engine.questions"],
    ["service.batch"],
    ["service.engine.slot", "service.engine.batcher"],
    ["service.engine.loading"],
    ["service.engine.model"],
    ["service.engine.native"],
    ["service.engine.retrieval", "service.engine.vectors", "service.engine.popularity"],
    ["service.engine.ids", "service.engine.wanted"],
    ["service.engine.ranking", "service.engine.session", "service.engine.cpu", "service.engine.query", "service.engine.selection"],
    ["service.inspection"],
    ["service.kernel"],
    ["service.bundle"],
    LEAVES,
]

# Who may import a framework: modules, or rooms whose name the module's begins with.
FRAMEWORKS = {
    "onnxruntime": ("service.engine.session", "model_export.parity", "model_export.runtime"),
    "onnx": (
        "model_export.columns",
        "model_export.graphs",
        "model_export.partial.",
        "model_export.ranker",
        "model_export.ranking_graphs",
        "model_export.runtime",
        "model_export.screen",
        "model_export.sources.onnx",
    ),
    "keras": ("model_export.sources.keras", "model_export.sources.kmr", "model_export.zoo.keras_"),
    "torch": ("model_export.sources.torch", "model_export.sources.keras_scorer", "model_export.zoo."),
    "pyarrow": ("service.batch.table",),
    "safetensors": ("model_export.sources.tables",),
    "fastapi_offline": ("service.web.app",),
    "httpx": ("service.client.",),
    "uvicorn": ("service.web.server", "service.web.connection"),
    "ctypes": ("service.kernel.", "service.heap"),
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
    """`model_export` knows `service.bundle` and the errors; `service` doesn't know `model_export`."""
    found = {imported for imported, _ in imports(MODULES[module])}
    if module.startswith("service"):
        assert not {name for name in found if name.startswith("model_export")}
    else:
        allowed = ("service.bundle", "service.errors", "service.strict_json")
        assert not {name for name in found if name.startswith("service") and not name.startswith(allowed)}


@pytest.mark.parametrize("module", MODULES)
def test_the_benchmarks_look_in_from_outside(module):
    assert not {imported for imported, _ in imports(MODULES[module]) if imported.startswith("benchmarks")}


@pytest.mark.parametrize("module", MODULES)
def test_each_framework_is_imported_in_its_own_files(module):
    for imported, _ in imports(MODULES[module]):
        assert module.startswith(FRAMEWORKS.get(imported.split(".")[0], module)), f"{module} imports {imported}"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(("service.engine", "service.bundle"))])
def test_inward_of_the_web_nothing_knows_http(module):
    assert not {imported for imported, _ in imports(MODULES[module]) if imported.split(".")[0] in STATUS_CODES}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("service.client")])
def test_the_client_knows_what_goes_over_the_wire_and_no_more(module):
    """A program that asks a service loads no engine and no server."""
    found = {imported for imported, _ in imports(MODULES[module])}

    assert {name for name in found if name.startswith("service.") and not name.startswith("service.client.")} <= {
        "service.errors",
        "service.web.schemas",
    }
    assert not {name.split(".")[0] for name in found} & {"fastapi", "starlette", "uvicorn", "onnxruntime", "numpy"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("service.bundle")])
def test_the_bundle_room_needs_the_standard_library_and_numpy_alone(module):
    tops = {imported.split(".")[0] for imported, _ in imports(MODULES[module])}

    assert tops <= set(sys.stdlib_module_names) | {"numpy", "service"}


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.startswith("service.bundle") and not name.endswith(("archive", "shelf"))]
)
def test_only_the_archive_touches_the_disk(module):
    """`shelf` looks which folders there are; nothing else in the room knows a path."""
    assert "pathlib" not in {imported for imported, _ in imports(MODULES[module])}


def test_settings_are_read_at_the_border():
    readers = {module for module, path in MODULES.items() if "service.settings" in {imported for imported, _ in imports(path)}}

    assert all(reader == "service.cli" or reader.startswith("service.web.") for reader in readers)


def test_the_command_line_of_the_exporter_is_light():
    """`recoserve --help` must not wait for a framework."""
    heavy = {"torch", "keras", "onnx", "onnxruntime", "safetensors"}
    reached, waiting = set(), ["model_export.cli", "model_export.zoo.command", "model_export.__init__"]
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
