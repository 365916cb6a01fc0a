"""Each way to install: its description is true, and the server that it starts answers.

The external tests need `mcpb`, which packs the bundle, and `uv`, which installs and starts it as a host does.
`skillsaw`, a development dependency, knows the registry's schema.
"""

import asyncio
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from mcp import Client, StdioServerParameters

from tests.support.canary import KEY, keeps_silent
from tests.support.harness import LeakCheckingClient, ask
from tests.support.processes import environment
from usage_cost_mcp.demo import DemoApi, serve_on_loopback

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
EXAMPLE = json.loads((ROOT / "examples" / "claude_desktop_config.json").read_text(encoding="utf-8"))
MANIFEST = json.loads((PACKAGING / "mcpb" / "manifest.json").read_text(encoding="utf-8"))
REGISTRY = json.loads((PACKAGING / "server.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = set(re.findall(r"^([\w.-]+==[^ ]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))

PACKER, UV = (shutil.which(name) for name in ("mcpb", "uv"))
LINTER = Path(sys.executable).parent / "skillsaw"
MAY_INSTALL = UV is not None and "TEST_INSTALLS" in os.environ
packs = pytest.mark.skipif(PACKER is None, reason="mcpb is not on the PATH")
installs = pytest.mark.skipif(not MAY_INSTALL, reason="needs uv, and TEST_INSTALLS=1 to install from the package index")


def run(*command: str | Path, **options: Any) -> str:
    """The output of a command that must succeed and must not print the key."""
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False, **options)
    assert done.returncode == 0, done.stderr
    assert keeps_silent(done.stdout + done.stderr)
    return done.stdout


def tools_and_answer(server: StdioServerParameters) -> tuple[list[str], dict[str, Any]]:
    """Start a server; its tools, and its answer to a question."""

    async def conversation() -> tuple[list[str], dict[str, Any]]:
        async with LeakCheckingClient(server) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, await ask(client, "get_spend", period="last_month")

    return asyncio.run(conversation())


def installed_versions(environment: Path) -> set[str]:
    """The packages of a virtual environment with their versions, except this project."""
    [packages] = environment.glob("lib/python*/site-packages")
    found = {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in distributions(path=[str(packages)])}
    return {
        f"{name}=={version}" for name, version in found.items() if name not in {PROJECT["name"], "pip", "setuptools"}
    }


# The descriptions


def test_every_description_has_the_version_of_the_project() -> None:
    [package] = REGISTRY["packages"]
    assert {MANIFEST["version"], REGISTRY["version"], package["version"]} == {PROJECT["version"]}
    assert {MANIFEST["name"], package["identifier"]} == {PROJECT["name"]}


def test_the_installed_version_is_that_of_the_project() -> None:
    assert version(PROJECT["name"]) == PROJECT["version"]


@pytest.mark.anyio
async def test_the_manifest_lists_exactly_our_tools(client: Client) -> None:
    first_sentences = {
        tool.name: (tool.description or "").partition(". ")[0].removesuffix(".")
        for tool in (await client.list_tools()).tools
    }
    assert {tool["name"]: tool["description"] for tool in MANIFEST["tools"]} == first_sentences


def test_the_key_is_asked_for_as_a_secret_and_nothing_else_is() -> None:
    [(name, prompt)] = MANIFEST["user_config"].items()
    assert (prompt["sensitive"], prompt["required"]) == (True, True)
    assert MANIFEST["server"]["mcp_config"]["env"] == {"ANTHROPIC_ADMIN_API_KEY": f"${{user_config.{name}}}"}
    [variable] = REGISTRY["packages"][0]["environmentVariables"]
    assert variable["name"] == "ANTHROPIC_ADMIN_API_KEY"
    assert (variable["isSecret"], variable["isRequired"]) == (True, True)


def test_the_icon_is_a_small_square_png() -> None:
    icon = (PACKAGING / "mcpb" / MANIFEST["icon"]).read_bytes()
    assert icon.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", icon[16:24]) == (512, 512)
    assert len(icon) < 30_000


def test_the_readme_claims_the_name_in_the_registry() -> None:
    assert f"<!-- mcp-name: {REGISTRY['name']} -->" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_description_for_the_registry_is_valid(tmp_path: Path) -> None:
    shutil.copy(PACKAGING / "server.json", tmp_path)
    assert "Repo type: mcp-registry" in run(LINTER, "lint", "--strict", "--no-color", tmp_path)


# The bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, packed by the documented command and unpacked by the official tool."""
    built, unpacked = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("unpacked")
    run(sys.executable, PACKAGING / "bundle.py", built)
    run(str(PACKER), "unpack", built / "usage-cost-mcp.mcpb", unpacked)
    return unpacked


@pytest.mark.external
@packs
def test_the_bundle_holds_the_program_and_no_development_files(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {
        "LICENSE",
        "README.md",
        "SECURITY.md",
        "icon.png",
        "main.py",
        "manifest.json",
        "pyproject.toml",
        "server",
    }
    assert sources(bundle / "server") == sources(ROOT / "server")
    project = tomllib.loads((bundle / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"] == PROJECT
    assert "dependency-groups" not in project


def sources(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.external
@packs
@installs
def test_the_installed_bundle_answers(bundle: Path) -> None:
    config = MANIFEST["server"]["mcp_config"]
    words = [config["command"], *(word.replace("${__dirname}", str(bundle)) for word in config["args"])]
    assert words == ["uv", "run", "--directory", str(bundle), MANIFEST["server"]["entry_point"]]
    given = {name: value.replace("${user_config.admin_api_key}", KEY) for name, value in config["env"].items()}

    assert run(*words, "--version", env=environment()) == f"{PROJECT['version']}\n"
    assert installed_versions(bundle / ".venv") <= PINNED
    with serve_on_loopback(DemoApi(lambda: datetime.now(UTC)).respond) as url:
        env = environment(**given, USAGE_COST_MCP_BASE_URL=url)
        tools, answer = tools_and_answer(StdioServerParameters(command=words[0], args=words[1:], env=env))
    assert tools == [tool["name"] for tool in MANIFEST["tools"]]
    assert answer["summary"].startswith("Spend ")
    assert answer["demo"] is False


def test_without_the_packer_the_script_prints_the_command_that_provides_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PACKAGING / "bundle.py", tmp_path / "build"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "npx --yes --package @anthropic-ai/mcpb@" in done.stderr
    assert not (tmp_path / "build").exists()


def test_the_packer_has_one_version_everywhere() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/install.md", ".ci/run")]
    texts.append((PACKAGING / "bundle.py").read_text(encoding="utf-8"))
    assert [re.findall(r"@anthropic-ai/mcpb@([\d.]+)", text) for text in texts] == [["2.1.2"]] * 4


# A release

STATES_THE_VERSION = ("pyproject.toml", "packaging/server.json", "packaging/mcpb/manifest.json", "CHANGELOG.md")


@pytest.fixture
def copy_of_project(tmp_path: Path) -> Path:
    """The release script with the files that it changes."""
    for name in (*STATES_THE_VERSION, "packaging/release.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changelog = tmp_path / "CHANGELOG.md"
    older = changelog.read_text(encoding="utf-8").partition("## [0.1.0]")[2]
    changelog.write_text(f"# Changelog\n\n## [Unreleased]\n\n- News.\n\n## [0.1.0]{older}", encoding="utf-8")
    return tmp_path


def release(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, project / "packaging" / "release.py", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_a_release_changes_every_statement_of_the_version_and_nothing_else(copy_of_project: Path) -> None:
    before = {name: (copy_of_project / name).read_text(encoding="utf-8") for name in STATES_THE_VERSION[:3]}
    done = release(copy_of_project, "12.3.4")
    assert (done.returncode, done.stderr) == (0, "")
    for name, text in before.items():
        changed = (copy_of_project / name).read_text(encoding="utf-8")
        assert changed == re.sub(rf'(version"?\W+"){re.escape(PROJECT["version"])}"', r'\g<1>12.3.4"', text)
        assert "12.3.4" in changed


def test_a_release_dates_the_section_of_its_changes(copy_of_project: Path) -> None:
    assert release(copy_of_project, "12.3.4").returncode == 0
    sections = re.split(r"^## ", (copy_of_project / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sections[1] == "[Unreleased]\n\n"
    assert re.fullmatch(r"\[12\.3\.4\] - \d{4}-\d\d-\d\d\n\n- News\.\n\n", sections[2])
    assert sections[3].startswith("[0.1.0] - 2026-11-28\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "usage: release.py MAJOR.MINOR.PATCH"),
        (["1.0"], "usage: release.py MAJOR.MINOR.PATCH"),
        (["0.1.0"], "CHANGELOG.md already has a section for 0.1.0."),
    ],
)
def test_a_release_that_cannot_be_changes_nothing(copy_of_project: Path, arguments: list[str], reason: str) -> None:
    before = (copy_of_project / "pyproject.toml").read_bytes()
    done = release(copy_of_project, *arguments)
    assert (done.returncode, done.stderr) == (1, f"{reason}\n")
    assert (copy_of_project / "pyproject.toml").read_bytes() == before


def test_a_release_needs_changes(copy_of_project: Path) -> None:
    changelog = copy_of_project / "CHANGELOG.md"
    changelog.write_text(changelog.read_text(encoding="utf-8").replace("- News.\n", ""), encoding="utf-8")
    done = release(copy_of_project, "12.3.4")
    assert (done.returncode, done.stderr) == (1, "CHANGELOG.md lists no unreleased changes.\n")


# The links


def links(*clone: str) -> str:
    return run(sys.executable, PACKAGING / "links.py", *clone)


def test_the_links_that_the_documentation_shows_are_those_of_the_example() -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"<!-- links -->\n```text\n{links('/path/to/usage-cost-mcp')}```\n<!-- /links -->" in text


def test_the_link_to_cursor_holds_the_example() -> None:
    link = urlsplit(links("/path/to/usage-cost-mcp").split()[0])
    query = {name: value for name, [value] in parse_qs(link.query).items()}
    assert (link.scheme, link.netloc, link.path) == ("cursor", "anysphere.cursor-deeplink", "/mcp/install")
    assert {query["name"]: json.loads(b64decode(query["config"], validate=True))} == EXAMPLE["mcpServers"]


def test_the_link_to_vscode_holds_this_clone_and_asks_for_the_key() -> None:
    address, _, config = links().split()[1].partition("?")
    assert address == "vscode:mcp/install"
    assert json.loads(unquote(config)) == {
        "name": "usage-cost",
        "command": f"{ROOT}/.venv/bin/usage-cost-mcp",
        "env": {"ANTHROPIC_ADMIN_API_KEY": "${input:ANTHROPIC_ADMIN_API_KEY}"},
        "inputs": [
            {
                "id": "ANTHROPIC_ADMIN_API_KEY",
                "type": "promptString",
                "description": "ANTHROPIC_ADMIN_API_KEY",
                "password": True,
            }
        ],
    }


# uv and the container


@pytest.mark.external
@installs
def test_uvx_runs_a_clone() -> None:
    assert run("uvx", "--from", ROOT, "usage-cost-mcp", "--version", env=environment()) == f"{PROJECT['version']}\n"


def instructions() -> Iterator[tuple[str, str]]:
    for line in (PACKAGING / "Containerfile").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, words = line.partition(" ")
            yield name, words


def test_the_container_has_two_stages_an_unprivileged_user_and_no_shell() -> None:
    order = [name for name, _ in instructions()]
    last = dict(instructions())
    assert order.count("FROM") == 2
    assert {words.split()[0] for name, words in instructions() if name == "FROM"} == {"python:3.11-slim"}
    assert order[-2:] == ["USER", "ENTRYPOINT"]
    assert last["USER"].split(":")[0] not in {"0", "root"}
    assert json.loads(last["ENTRYPOINT"]) == ["/opt/usage-cost-mcp/bin/usage-cost-mcp"]


@pytest.mark.external
@installs
def test_the_server_built_by_the_container_steps_answers(tmp_path: Path) -> None:
    context, target = tmp_path / "build", tmp_path / "opt"
    context.mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, words in instructions():
        if name == "RUN":
            run("sh", "-euc", words.replace("/opt/", f"{target}/"), cwd=context, env=environment(PATH=path))
        elif name == "COPY" and not words.startswith("--from"):
            copy(words.split(), context)
    assert installed_versions(target / "usage-cost-mcp") <= PINNED
    [command] = json.loads(dict(instructions())["ENTRYPOINT"])
    tools, answer = tools_and_answer(
        StdioServerParameters(command=command.replace("/opt/", f"{target}/"), args=["--demo"])
    )
    assert tools == [tool["name"] for tool in MANIFEST["tools"]]
    assert answer["demo"] is True


def copy(words: list[str], context: Path) -> None:
    """Copy files, or a folder into a folder of that name, as COPY does."""
    *names, target = words
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / target)
        else:
            shutil.copy(ROOT / name, context / target)
