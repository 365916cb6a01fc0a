"""The deployment for a team: its files are consistent, and everything that needs no container engine is run.

nginx and Valkey or Redis come with the development dependencies, systemd's own check from the distribution.
"""

import asyncio
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.canary import KEY, keeps_silent
from tests.support.harness import Upstream, ask
from tests.support.processes import environment
from tests.support.programs import find_program
from tests.support.redis_servers import PROGRAMS, running
from tests.support.subprocess_http_server import client_of, started, until
from usage_cost_mcp.demo import DemoApi, serve_on_loopback

ROOT = Path(__file__).parent.parent
TEAM = ROOT / "examples" / "team"
FILES = {path.name: path.read_text(encoding="utf-8") for path in TEAM.iterdir() if path.is_file()}
PROGRAM = Path(sys.executable).parent / "usage-cost-mcp"

NGINX = find_program("nginx")
STORE = next((program for program in reversed(PROGRAMS) if find_program(program)), None)
ANALYZE = shutil.which("systemd-analyze")


# The files


def test_every_file_is_linked() -> None:
    examples = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        assert f"(team/{name})" in examples
        assert name == "README.md" or f"({name})" in FILES["README.md"]
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", FILES["README.md"]):
        assert (TEAM / link).exists(), link


def test_every_setting_in_the_files_is_in_the_readme() -> None:
    known = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    for name, text in FILES.items():
        assert set(re.findall(r"\b(?:ANTHROPIC|USAGE_COST_MCP)_\w+", text)) <= known, name


def test_no_file_contains_a_secret_or_a_place_for_one() -> None:
    for name, text in FILES.items():
        assert "sk-ant" not in text, name
        assert not re.search(r"ANTHROPIC_ADMIN_API_KEY\b(?!_FILE)", text), name


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "compose.yaml",
            {
                "read_only: true": 3,
                "cap_drop: [ALL]": 3,
                'security_opt: ["no-new-privileges:true"]': 3,
                "user: ": 3,
                "mem_limit: ": 3,
                "replica-1: *replica": 1,
                "replica-2: *replica": 1,
                'ports: ["127.0.0.1:8080:8080"]': 1,
                "stop_grace_period: 15s": 1,
            },
        ),
        (
            "kubernetes.yaml",
            {
                "replicas: 2": 1,
                "runAsNonRoot: true": 1,
                "readOnlyRootFilesystem: true": 1,
                "allowPrivilegeEscalation: false": 1,
                "drop: [ALL]": 1,
                "automountServiceAccountToken: false": 1,
                "terminationGracePeriodSeconds: 15": 1,
                "path: /healthz": 1,
                "path: /readyz": 1,
                "kind: PodDisruptionBudget": 1,
            },
        ),
        (
            "usage-cost-mcp.service",
            {"DynamicUser=yes": 1, "ProtectSystem=strict": 1, "NoNewPrivileges=yes": 1, "CapabilityBoundingSet=": 1},
        ),
    ],
)
def test_every_container_is_unprivileged_and_limited(name: str, lines: dict[str, int]) -> None:
    text = FILES[name]
    found = {line: len(re.findall(rf"^[ -]*{re.escape(line)}", text, re.MULTILINE)) for line in lines}
    assert found == lines
    assert "\t" not in text


def test_probes_send_an_allowed_host_header() -> None:
    text = FILES["kubernetes.yaml"]
    [allowed] = re.findall(r"ALLOWED_HOSTS\n\s+value: (\S+)", text)
    assert re.findall(r"name: Host\n\s+value: (\S+)", text) == [allowed]


@pytest.mark.external
@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not on the PATH")
def test_the_systemd_unit_is_valid_and_sandboxed(tmp_path: Path) -> None:
    unit = tmp_path / "usage-cost-mcp.service"
    unit.write_text(FILES[unit.name].replace("/opt/usage-cost-mcp/bin/usage-cost-mcp", str(PROGRAM)), encoding="utf-8")
    assert run([str(ANALYZE), "verify", str(unit)]).stderr == ""
    run([str(ANALYZE), "security", "--offline=true", "--threshold=20", str(unit)])


def run(words: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    env = environment(**settings)
    done = subprocess.run(words, capture_output=True, encoding="utf-8", timeout=60, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# The running deployment


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in listening]


def nginx_conf(folder: Path, balancer: int, replicas: Sequence[int]) -> Path:
    """The example's configuration with the ports and the folder of this test."""
    changes = {f"replica-{number}:8000": f"127.0.0.1:{port}" for number, port in enumerate(replicas, 1)}
    text = FILES["nginx.conf"]
    for old, new in {**changes, "listen 8080;": f"listen 127.0.0.1:{balancer};", "/tmp/": f"{folder}/"}.items():  # noqa: S108
        assert old in text
        text = text.replace(old, new)
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_the_nginx_configuration_is_valid(tmp_path: Path) -> None:
    balancer, *replicas = free_ports(3)
    conf = nginx_conf(tmp_path, balancer, replicas)
    assert "[warn]" not in run([str(NGINX), "-e", "stderr", "-t", "-c", str(conf)]).stderr


@contextmanager
def balancing(conf: Path, log: Path) -> Generator[None]:
    """nginx, whose log goes to a file."""
    command = [str(NGINX), "-e", "stderr", "-g", "daemon off;", "-c", str(conf)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as nginx:
        try:
            yield
        finally:
            nginx.terminate()


def status(port: int, path: str, host: str, body: bytes | None = None) -> int:
    """The status of a GET or, with a body, a POST; 0 if the connection fails."""
    method = "GET" if body is None else "POST"
    try:
        return httpx2.request(
            method, f"http://127.0.0.1:{port}{path}", headers={"Host": host}, content=body
        ).status_code
    except httpx2.TransportError:
        return 0


async def answer(url: str, token: str, mode: str) -> dict[str, Any]:
    """The answer that a client gets from the server."""
    async with client_of(url, token, mode) as client:
        return await ask(client, "get_spend", period="2026-10", group_by=["model"])


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.skipif(STORE is None, reason="neither valkey-server nor redis-server is installed")
def test_calls_are_answered_when_one_replica_is_killed(tmp_path: Path) -> None:
    [balancer] = free_ports(1)
    name, url = f"127.0.0.1:{balancer}", f"http://127.0.0.1:{balancer}/mcp"
    (tmp_path / "admin-key").write_text(KEY, encoding="utf-8")
    tokens = str(tmp_path / "tokens")
    token = run([str(PROGRAM), "token", "create", "alice"], USAGE_COST_MCP_TOKENS_FILE=tokens).stdout.strip()
    upstream = Upstream(DemoApi(lambda: datetime.now(UTC)).respond)
    with ExitStack() as stack:
        settings = {
            "ANTHROPIC_ADMIN_API_KEY_FILE": str(tmp_path / "admin-key"),
            "USAGE_COST_MCP_TOKENS_FILE": tokens,
            "USAGE_COST_MCP_ALLOWED_HOSTS": name,
            "USAGE_COST_MCP_REDIS_URL": stack.enter_context(running(str(STORE))).url.get_secret_value(),
            "USAGE_COST_MCP_BASE_URL": stack.enter_context(serve_on_loopback(upstream)),
        }
        one, other = (stack.enter_context(started(environ=settings)) for _ in range(2))
        conf = nginx_conf(tmp_path, balancer, [one.port, other.port])
        stack.enter_context(balancing(conf, tmp_path / "nginx.log"))
        until(lambda: status(balancer, "/readyz", name) == 200)

        assert status(balancer, "/healthz", "elsewhere.example.com") == 421
        assert status(balancer, "/docs", name) == 404
        assert status(balancer, "/mcp", name, b"{}") == 401
        assert status(balancer, "/mcp", name, bytes(300_000)) == 413
        assert status(balancer, f"/mcp?token={token}", name, b"{}") == 400

        first = asyncio.run(answer(one.url, token, "auto"))
        requests_before = upstream.asked("cost_report")
        answers = [asyncio.run(answer(url, token, mode)) for mode in ("auto", "legacy")]
        one.process.kill()
        answers += [asyncio.run(answer(url, token, mode)) for mode in ("auto", "legacy", "auto", "legacy")]
        assert all(each["series"] == first["series"] for each in answers)
        assert upstream.asked("cost_report") == requests_before > 0
        logs = one.stderr_text() + other.stderr_text() + (tmp_path / "nginx.log").read_text(encoding="utf-8")
    assert keeps_silent(logs)
    assert token not in logs
