"""Documents that fail when the product has something they lack."""

import ast
import inspect
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from recoserve import cli, metrics
from recoserve.bundle import contract
from recoserve.bundle.manifest import Manifest
from recoserve.settings import PREFIX, Settings
from recoserve.web import problems
from tests.architecture import MODULES, TREES, assert_none, room, undocumented

ROOT = Path(__file__).parents[1]
DOCS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]
}
OPERATIONS, API, EXPORT, BUNDLE = (DOCS[f"docs/{name}.md"] for name in ("operations", "api", "export", "bundle-format"))


def test_every_setting_has_its_row_with_its_default():
    for name, field in Settings.model_fields.items():
        (row,) = [line for line in OPERATIONS.splitlines() if f"`{PREFIX}{name.upper()}`" in line and line.startswith("|")]
        cell = row.split("|")[3].strip().strip("`")
        assert cell == str("" if field.default is None else field.default).lower().removesuffix(".0"), name


def test_every_metric_has_its_row_with_its_labels():
    collectors = [value for value in vars(metrics).values() if hasattr(value, "_labelnames")]
    assert len(collectors) >= 10
    for collector in collectors:
        name = collector._name + ("_total" if collector._type == "counter" else "")
        (row,) = [line for line in OPERATIONS.splitlines() if line.startswith(f"| `{name}`")]
        assert all(f"`{label}`" in row for label in collector._labelnames), row


def test_every_problem_type_has_its_row_with_its_status():
    kinds = [*problems.TYPES.values(), *problems.BY_STATUS.values(), problems.INTERNAL]
    for kind in kinds:
        assert re.search(rf"\| `{kind.type}` \| {kind.status} \|", API), kind.type
    assert {kind.type for kind in kinds} == set(re.findall(r"\| `(/problems/[a-z-]+)`", API))


def test_every_route_is_in_the_api_page():
    from recoserve.web import operations, routes

    paths = {route.path for router in (routes.router, routes.json_router, operations.router) for route in router.routes}
    assert all(path in API for path in paths), paths


def test_every_command_and_option_is_described():
    pages = OPERATIONS + EXPORT
    for name in (name for name, command in cli.COMMANDS.items() if command.location):
        assert f"recoserve {name}" in pages, name
    exported = {point.name: point.load() for point in entry_points(group="recoserve.commands")}
    assert {"export", "train"} <= exported.keys()
    for name, command in exported.items():
        if isinstance(command, typer.Typer):
            continue  # `tests/benchmarks` looks at its commands
        options = subprocess.run(
            [sys.executable, "-m", "recoserve", name, "--help"],
            capture_output=True,
            text=True,
            env={"COLUMNS": "200", "PATH": ""},
        )
        names = set(re.findall(r"--[a-z][a-z0-9-]+", options.stdout)) - {"--help"}
        assert len(names) > 5
        missing = {option for option in names if f"`{option}" not in EXPORT and f"{option} " not in EXPORT}
        assert not missing, f"recoserve {name}: {missing}"


def test_every_member_of_the_manifest_and_every_file_is_described():
    for name in [*inspect.signature(Manifest).parameters, "format_version", "digest"]:
        assert f"`{name}`" in BUNDLE, name
    files = [
        *contract.GRAPHS.values(),
        *contract.QUERY_GRAPHS.values(),
        *contract.SCREEN_GRAPHS.values(),
        *contract.FINISH_GRAPHS.values(),
        contract.SCREEN_TENSORS,
        contract.TENSORS,
        contract.GOLDEN,
        contract.ITEM_METADATA,
        contract.INTERACTION_ITEMS,
        contract.MANIFEST,
    ]
    assert all(f"`{name}`" in BUNDLE for name in files)


@pytest.mark.parametrize("page", DOCS)
def test_every_link_leads_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", DOCS[page]):
        if target.startswith("http"):
            continue
        linked = (ROOT / page).parent / target if target else ROOT / page
        assert linked.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(linked.read_text()), f"{page}: {target}#{anchor}"


def anchors(text):
    """A page's headings as links name them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in DOCS.items():
        assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets, page


def test_decisions_are_dated_and_numbered_without_a_gap():
    names = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))

    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        assert re.search(r"^20\d\d-\d\d-\d\d$", DOCS[f"docs/decisions/{name}"], re.MULTILINE), name


def test_no_file_names_a_registry_or_a_machine():
    files = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout.split()
    address = re.compile(r"https?://[\w.-]*(?:py" + r"pi|python" + r"hosted|npm" + r"js|deb" + r"ian)\.(?:org|com)")
    for name in files:
        if name.endswith((".py", ".md", ".toml", ".yml", ".txt", ".sh", "Dockerfile", "Makefile", "run")):
            text = (ROOT / name).read_text()
            assert not address.search(text), name
            assert not re.search(r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot)/", text), name


def test_every_pinned_package_has_hashes():
    pins = [line for line in (ROOT / "requirements/serve.txt").read_text().splitlines() if "==" in line]

    assert len(pins) > 20
    assert all(pin.endswith("\\") for pin in pins), "a pin without a hash"


def test_the_version_is_one():
    """pyproject, the changelog and the compose file agree."""
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)

    assert f"\n## {version}\n" in DOCS["CHANGELOG.md"]
    assert f"image: recoserve:{version}" in (ROOT / "docker-compose.yml").read_text()


def test_public_functions_classes_and_methods_have_docstrings():
    """The programs that run apart, each in a peer's environment, are no interface of the package."""
    rooms = {room(module) for module in MODULES} - {"recoserve_bench.http.servers", "recoserve_bench.retrieval.systems"}

    assert_none(undocumented(rooms), "without a docstring")


def test_modules_have_docstrings():
    assert_none([module for module, path in MODULES.items() if not ast.get_docstring(TREES[path])], "without a docstring")
