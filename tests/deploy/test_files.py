"""The container files, read as text: hardening, pins, and names that must agree across files."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import hatch_build
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FRAMEWORKS = {"keras", "onnx", "tensorflow", "torch"}
# What a marker of the pins may ask about; the serving image and `make demo` run on these.
MACHINES = [
    {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux", "platform_machine": machine}
    for python in ("3.11", "3.12", "3.13")
    for machine in ("x86_64", "aarch64")
]


def read(name):
    return (ROOT / name).read_text()


def pins(name="serve"):
    """(requirement, its hashes) for every entry of the serving image's packages, or of those that build it."""
    joined = read(f"requirements/{name}.txt").replace("\\\n", " ")
    entries = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [
        (Requirement(entry.split("--hash")[0].strip()), re.findall(r"--hash=sha256:([0-9a-f]{64})(?!\S)", entry))
        for entry in entries
    ]


def compose_services():
    """The text of each service of the compose file, by name."""
    block = re.search(r"^services:\n(.*?)(?=^\S)", read("docker-compose.yml"), re.M | re.S).group(1)
    _, *names_and_texts = re.split(r"^  (\w+):\n", block, flags=re.M)
    return dict(zip(names_and_texts[::2], names_and_texts[1::2], strict=True))


def setting(service, name):
    """The value that one line of a service gives, without a comment and quotes."""
    values = re.findall(rf"^    {name}: (.+?)(?:\s+#.*)?$", compose_services()[service], re.M)
    assert len(values) == 1, f"{service}: {name}: {values}"
    return values[0].strip('"')


def final_stage():
    """(instruction, arguments) of the Dockerfile's last stage."""
    lines = [line for line in read("Dockerfile").replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    instructions = [tuple(line.strip().split(maxsplit=1)) for line in lines]
    last = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[last:]


def argument(name):
    return [arguments for instruction, arguments in final_stage() if instruction == name][-1]


SERVICES = sorted(compose_services())


def test_compose_has_the_service_and_its_monitoring():
    assert SERVICES == ["prometheus", "recoserve"]
    assert setting("prometheus", "profiles") == "[monitoring]"


@pytest.mark.parametrize("service", SERVICES)
def test_compose_hardens(service):
    assert setting(service, "read_only") == "true"
    assert setting(service, "cap_drop") == "[ALL]"
    assert json.loads(setting(service, "security_opt")) == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", setting(service, "mem_limit"))
    assert 0 < int(setting(service, "pids_limit")) <= 512
    assert not re.search(r"privileged|cap_add|network_mode|docker\.sock", compose_services()[service])


@pytest.mark.parametrize("service", SERVICES)
def test_compose_publishes_on_loopback_and_mounts_folders_read_only(service):
    text = compose_services()[service]
    published = re.search(r"^    ports:\n((?:      .*\n)+)", text, re.M).group(1)
    ports = re.findall(r"^      - (.+)$", published, re.M)
    assert len(ports) == 1
    assert re.fullmatch(r'"\$\{\w+:-127\.0\.0\.1:\d+\}:\d+"', ports[0])
    mounts = re.findall(r'^      - "?(?:\$\{\w+:-)?(\./.+?)"?$', text, re.M)
    assert mounts
    assert all(mount.endswith(":ro") for mount in mounts), mounts


def test_compose_limits_the_service():
    assert setting("recoserve", "user") == argument("USER")
    assert float(setting("recoserve", "cpus")) > 0
    assert int(re.search(r"nofile: (\d+)", compose_services()["recoserve"]).group(1)) <= 20_000
    drain = float(re.search(r'RECOSERVE_DRAIN_SECONDS: "(.+)"', compose_services()["recoserve"]).group(1))
    assert int(setting("recoserve", "stop_grace_period").removesuffix("s")) > drain


def test_image_ends_as_a_fixed_user_who_is_not_root():
    stage = final_stage()
    users = [(index, value) for index, (name, value) in enumerate(stage) if name == "USER"]
    assert len(users) == 1
    index, user = users[0]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert not [name for name, _ in stage[index:] if name in {"RUN", "COPY", "ADD"}]


def test_image_starts_the_product_without_a_shell():
    command = json.loads(argument("ENTRYPOINT")) + json.loads(argument("CMD"))
    assert command == ["recoserve", "serve", "--or-demo"]
    assert argument("STOPSIGNAL") == "SIGTERM"
    assert f":{argument('EXPOSE')}/readyz" in argument("HEALTHCHECK")


def test_image_turns_the_runtimes_telemetry_off():
    assert "ORT_DISABLE_TELEMETRY=1" in argument("ENV").split()


def test_image_is_built_from_plain_tags_and_hashed_packages():
    text = read("Dockerfile")
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["python:3.12-slim-bookworm"] * 2
    assert "# syntax=" not in text
    installs = re.findall(r"pip install (.*)", text)
    assert installs
    assert all("--require-hashes" in install or "--no-deps" in install for install in installs), installs


def test_build_context_holds_what_the_image_copies():
    allowed = {line.removeprefix("!") for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", read("Dockerfile"), re.M) for word in line.split()[:-1]]
    assert copied
    assert set(copied) == allowed
    assert not [name for name in copied if not (ROOT / name).exists()]


@pytest.mark.parametrize(("name", "least"), [("serve", 20), ("build", 3)])
def test_every_pin_is_exact_and_hashed(name, least):
    assert len(pins(name)) > least
    for requirement, hashes in pins(name):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert requirement.url is None, requirement


@pytest.mark.parametrize("name", ["serve", "build"])
def test_requirements_hold_no_address_and_no_path(name):
    assert not re.findall(r"://|file:|--(?:index|extra|find|trusted)\S*|^-|(?:^|\s)/\S+", read(f"requirements/{name}.txt"), re.M)


def test_requirements_hold_no_framework():
    assert not FRAMEWORKS & {canonicalize_name(requirement.name) for requirement, _ in pins()}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine['python_version']}-{machine['platform_machine']}")
def test_every_dependency_has_one_pin_that_meets_it(machine):
    """`make requirements` was run after the last change of the dependencies."""
    chosen = [requirement for requirement, _ in pins() if requirement.marker is None or requirement.marker.evaluate(machine)]
    versions = {canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==") for requirement in chosen}
    assert len(versions) == len(chosen)
    for text in tomllib.loads(read("pyproject.toml"))["project"]["dependencies"]:
        dependency = Requirement(text)
        assert dependency.specifier.contains(versions[canonicalize_name(dependency.name)]), text


def test_the_image_is_built_with_what_the_build_asks_for():
    """Build isolation is off there: what a build needs stands in the pins, a compiler as well."""
    built = {canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==") for requirement, _ in pins("build")}
    for text in [*tomllib.loads(read("pyproject.toml"))["build-system"]["requires"], hatch_build.ZIGLANG]:
        dependency = Requirement(text)
        assert dependency.specifier.contains(built[canonicalize_name(dependency.name)]), text


def test_prometheus_scrapes_the_service():
    text = read("deploy/prometheus.yml")
    assert re.findall(r"job_name: (\S+)", text) == ["recoserve"]
    assert json.loads(re.search(r"targets: (\[.+\])", text).group(1)) == [f"recoserve:{argument('EXPOSE')}"]
    assert re.findall(r"metrics_path: (\S+)", text) in ([], ["/metrics"]), "Prometheus asks for /metrics where nothing is said"
    assert re.search(r"scrape_interval: 5s", text)
    assert "./deploy/prometheus.yml:/etc/prometheus/prometheus.yml:ro" in compose_services()["prometheus"]


def test_smoke_script_is_strict_and_free_of_this_machine():
    text = read("deploy/smoke.sh")
    assert "\nset -euo pipefail\n" in text
    assert "/work" not in text
    assert (ROOT / "deploy/smoke.sh").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", ROOT / "deploy/smoke.sh"], check=True)
