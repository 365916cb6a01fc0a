"""The documentation is true: its outputs, its names, the sentences that it quotes, its links."""

import importlib
import pkgutil
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import httpx
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mcp import Client

from tests.support.fake_idp import Issuer, issuing, key
from tests.support.harness import Connect, FrozenClock, Upstream, ask, error, on, refusal
from tests.support.inprocess_http_server import Front, served
from tests.support.workspace_scoping import TOOLS
from tests.update_docs import DOCUMENTS, ROOT, SHOWN, current
from usage_cost_mcp import reports
from usage_cost_mcp.app import build_server
from usage_cost_mcp.auth.tokens_file import create_token
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.errors import ConfigurationError
from usage_cost_mcp.model.upstream_reports import ALL_DIMENSIONS
from usage_cost_mcp.reports.answers import AnswerModel
from usage_cost_mcp.reports.cache_efficiency import CACHE_REPORT
from usage_cost_mcp.reports.spend import SPEND_REPORT
from usage_cost_mcp.reports.token_usage import MEASURES
from usage_cost_mcp.runtime.limits import Limits
from usage_cost_mcp.settings import Settings

pytestmark = pytest.mark.anyio

TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
QUESTIONS, NUMBERS, TROUBLESHOOTING = (
    TEXTS[ROOT / "docs" / name] for name in ("questions.md", "numbers.md", "troubleshooting.md")
)


@pytest.mark.parametrize("text", TEXTS.values(), ids=[path.name for path in TEXTS])
async def test_every_output_is_what_the_command_prints(text: str) -> None:
    """After a change: python -m tests.update_docs."""
    assert text.count("```console") == len(SHOWN.findall(text)), "every console block is a command that can be checked"
    assert text == await current(text)


def test_the_questions_use_every_tool() -> None:
    assert set(TOOLS) == {words.split()[0] for words in SHOWN.findall(QUESTIONS)}


def slug(heading: str) -> str:
    """The name under which a heading can be linked, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def tokens_of(path: Path) -> Sequence[Token]:
    return MarkdownIt().parse(path.read_text(encoding="utf-8"))


def headings(path: Path) -> set[str]:
    pairs = pairwise(tokens_of(path))
    return {slug(inline.content.replace("`", "")) for opened, inline in pairs if opened.type == "heading_open"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    inline = [part for token in tokens_of(path) for part in token.children or ()]
    links = [str(part.attrs["href"]) for part in inline if "href" in part.attrs]
    for link in links:
        if link.startswith("https://"):
            continue
        file, _, heading = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_the_readme_leads_to_every_document() -> None:
    for path in DOCUMENTS[1:]:
        assert f"(docs/{path.name})" in TEXTS[DOCUMENTS[0]]


def parts(kind: type[AnswerModel] = AnswerModel) -> Iterator[type[AnswerModel]]:
    """Everything that an answer is made of."""
    for each in kind.__subclasses__():
        yield each
        yield from parts(each)


def names_in_answers() -> set[str]:
    for module in pkgutil.iter_modules(reports.__path__):
        importlib.import_module(f"{reports.__name__}.{module.name}")
    return {name for part in parts() for name in part.model_fields}


def codes_of_notes() -> set[str]:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "server").rglob("*.py")]
    return {
        code
        for source in sources
        for code in re.findall(r'(?:\bcode=|^NO_MATCH = |^STALE = )"(\w+)"', source, re.MULTILINE)
    }


@pytest.mark.parametrize(
    "names",
    [
        names_in_answers(),
        codes_of_notes(),
        {*ALL_DIMENSIONS},
        {*MEASURES, *(each.name for kind in (SPEND_REPORT, CACHE_REPORT) for each in kind.totals)},
    ],
    ids=["fields", "notes", "dimensions", "measures"],
)
def test_numbers_explains_every_name_that_an_answer_can_hold(names: set[str]) -> None:
    assert len(names) > 8
    assert sorted(name for name in names if f"`{name}`" not in NUMBERS) == []


# The sentences of troubleshooting.md, each provoked.


def quotes() -> list[str]:
    """Every blockquote, on one line."""
    blocks = re.findall(r"(?:^> .*\n)+", TROUBLESHOOTING, re.MULTILINE)
    return [" ".join(line.removeprefix("> ") for line in block.splitlines()) for block in blocks]


def answered(status: int, **headers: str) -> Response:
    """A response as Anthropic's support could find it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error(status, headers={"request-id": "req_011CVexample", **named})


@dataclass
class House:
    """What a provocation needs."""

    connect: Connect
    upstream: Upstream
    clock: FrozenClock

    @asynccontextmanager
    async def in_haste(self, limits: Limits) -> AsyncGenerator[Client]:
        """A client on a server with less patience."""
        async with Client(build_server(Settings.for_demo({}, self.upstream.url), self.clock, limits)) as client:
            yield client


async def setting(_house: House, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environ(environ)
    return str(refused.value)


async def query(house: House, tool: str, /, **arguments: Any) -> str:
    async with house.connect() as client:
        return await refusal(client, tool, **arguments)


async def fault(house: House, path: str, response: Response) -> str:
    house.upstream.override = on(path, response)
    async with house.connect() as client:
        said = await refusal(client, "get_spend", period="yesterday")
    return said.replace("the demo", "ANTHROPIC_ADMIN_API_KEY")


async def cut_off(house: House) -> str:
    def hang_up(_: Request) -> Response:
        raise ConnectionError

    house.upstream.override = hang_up
    async with house.connect() as client:
        return await refusal(client, "get_spend", period="yesterday")


async def nobody_there(house: House) -> str:
    async with house.connect(base_url="http://127.0.0.1:9") as client:
        return await refusal(client, "get_spend", period="yesterday")


async def no_answer(house: House, limits: Limits) -> str:
    over = Event()

    def wait(_: Request) -> None:
        over.wait(20)

    house.upstream.override = wait
    try:
        async with house.in_haste(limits) as client:
            said = await refusal(client, "get_spend", period="yesterday")
    finally:
        over.set()
    return said.replace(f"{limits.call_seconds:g} seconds", f"{Limits().call_seconds:g} seconds")


async def note(house: House, code: str, /, tool: str = "get_spend", **arguments: Any) -> str:
    async with house.connect() as client:
        answer = await ask(client, tool, **arguments)
    return next(each["message"] for each in answer["notes"] if each["code"] == code)


async def note_under(house: House, path: str, response: Response, code: str, **arguments: Any) -> str:
    house.upstream.override = on(path, response)
    return await note(house, code, **arguments)


async def outage(house: House) -> str:
    async with house.connect() as client:
        await ask(client, "get_spend", period="this_month")
        house.upstream.override = lambda _: answered(529)
        house.clock.advance(90 * 60)
        answer = await ask(client, "get_spend", period="this_month")
    return next(each["message"] for each in answer["notes"] if each["code"] == "stale")


@asynccontextmanager
async def for_a_team(house: House, **options: Any) -> AsyncGenerator[tuple[Front, Issuer, str]]:
    """A server with an issuer and a tokens file; the token of ana, who is in it, and one more line."""
    line = options.pop("line", "")
    with issuing() as issuer, TemporaryDirectory() as folder:
        token, record = create_token("ana", None, 1, None, house.clock)
        file = Path(folder) / "tokens"
        file.write_text(f"{record}\n{line.format(token=token)}")
        file.chmod(options.pop("mode", 0o600))
        options = {"oauth_issuer": issuer.url + options.pop("path", ""), "tokens_file": file, **options}
        async with served(house.clock, house.upstream.url, **options) as front:
            yield front, issuer, token


async def does_not_start(house: House, **options: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        async with for_a_team(house, **options):
            pass
    return str(refused.value)


async def shown(house: House, make: Callable[[Front, Issuer], str | None]) -> str:
    """What a server for a team answers to a token."""
    async with for_a_team(house) as (front, issuer, _):
        return told(await front.post(make(front, issuer)))


def told(answer: httpx.Response) -> str:
    """Why a request is refused: by the gate as OAuth has it, before that in a sentence."""
    return answer.json()["error_description"] if "json" in answer.headers["content-type"] else answer.text.strip()


async def in_the_address(house: House) -> str:
    async with for_a_team(house) as (front, _, token):
        return told(await front.post(params={"token": token}))


async def too_late(house: House, seconds: float, *, issued: bool) -> str:
    async with for_a_team(house) as (front, issuer, token):
        issuer.keys.clear()
        issuer.instead["/keys"] = Response({}, 500)
        house.clock.advance(seconds)
        return told(await front.post(issuer.token(front.url, key()) if issued else token))


async def too_often(house: House) -> str:
    async with for_a_team(house) as (front, _, token), front.client(token) as client:
        for _ in range(60):
            await refusal(client, "get_spend", period="whenever")
        return await refusal(client, "get_spend")


PROVOKED: Mapping[str, Callable[[House], Any]] = {
    "no key": partial(setting),
    "ordinary key": partial(setting, ANTHROPIC_ADMIN_API_KEY="sk-ant-api03-not-a-real-key"),
    "no key at all": partial(setting, ANTHROPIC_ADMIN_API_KEY="${KEY}"),
    "two keys": partial(setting, ANTHROPIC_ADMIN_API_KEY="sk-ant-admin01-...", ANTHROPIC_ADMIN_API_KEY_FILE="/key"),
    "no file": partial(setting, ANTHROPIC_ADMIN_API_KEY_FILE="/no/such/file"),
    "plain http": partial(
        setting, ANTHROPIC_ADMIN_API_KEY="sk-ant-admin01-...", USAGE_COST_MCP_BASE_URL="http://gateway.example"
    ),
    "token in the file": partial(does_not_start, line='{{"name": "bob", "sha256": "{token}"}}'),
    "open file": partial(does_not_start, mode=0o666),
    "other issuer": partial(does_not_start, path="/"),
    "no token": partial(shown, make=lambda _front, _issuer: None),
    "token in the address": in_the_address,
    "unknown token": partial(shown, make=lambda _front, _issuer: "ucm_guess"),
    "expired token": partial(too_late, seconds=90_000, issued=False),
    "key for a token": partial(shown, make=lambda _front, _issuer: "sk-ant-api03-not-a-real-key"),
    "other audience": partial(shown, make=lambda _front, issuer: issuer.token("https://other.example/mcp")),
    "opaque token": partial(shown, make=lambda _front, _issuer: "opaque"),
    "no scope": partial(shown, make=lambda front, issuer: issuer.token(front.url, scope="openid")),
    "silent issuer": partial(too_late, seconds=90_000, issued=True),
    "too often": too_often,
    "401": partial(fault, path="cost_report", response=answered(401)),
    "403": partial(fault, path="cost_report", response=answered(403)),
    "429": partial(fault, path="cost_report", response=answered(429, retry_after="90")),
    "spend limit": partial(fault, path="cost_report", response=error(429, error_code="enforced_spend_limit_reached")),
    "529": partial(fault, path="cost_report", response=answered(529)),
    "413": partial(fault, path="cost_report", response=answered(413)),
    "400": partial(fault, path="cost_report", response=answered(400)),
    "not ours": partial(fault, path="cost_report", response=Response(["not", "a", "report"])),
    "cut off": cut_off,
    "nobody there": nobody_there,
    "no answer": partial(no_answer, limits=Limits(request_seconds=0.1)),
    "no time": partial(no_answer, limits=Limits(call_seconds=0.1)),
    "unknown period": lambda house: query(house, "get_spend", period="october"),
    "future": lambda house: query(house, "get_spend", period="2026-12"),
    "per hour": lambda house: query(house, "get_spend", granularity="hour"),
    "local days": lambda house: query(house, "get_spend", timezone="Europe/Berlin"),
    "long hours": lambda house: query(house, "get_token_usage", period="this_year", granularity="hour"),
    "wrong name": lambda house: query(house, "get_spend", filter_by={"workspace_id": ["Produciton"]}),
    "wrong model": lambda house: query(house, "get_spend", filter_by={"model": ["opus"]}),
    "wrong argument": lambda house: query(house, "get_spend", periode="last_month"),
    "six dimensions": lambda house: query(
        house,
        "get_token_usage",
        group_by=["workspace_id", "api_key_id", "model", "service_tier", "context_window", "inference_geo"],
    ),
    "two estimates": lambda house: query(house, "get_spend", group_by=["api_key_id", "account_id"]),
    "stale": outage,
    "no names": partial(
        note_under, path="workspaces", response=answered(403), code="names_unavailable", group_by=["workspace_id"]
    ),
    "nothing there": lambda house: note(
        house, "filter_matches_nothing", period="last_month", filter_by={"model": ["claude-opus-4-1"]}
    ),
    "no rows": lambda house: note(house, "no_data", period="2023"),
    "granularity_reduced": lambda house: note(house, "granularity_reduced", period="this_year", group_by=["model"]),
    "cache savings": lambda house: note(
        house,
        "cache_savings_unavailable",
        tool="cache_hit_ratio",
        period="yesterday",
        group_by=["workspace_id", "api_key_id"],
    ),
}


@pytest.mark.parametrize("provoke", PROVOKED.values(), ids=PROVOKED)
async def test_a_quoted_sentence_is_what_the_server_says(
    provoke: Callable[[House], Any], connect: Connect, upstream: Upstream, clock: FrozenClock
) -> None:
    said = await provoke(House(connect, upstream, clock))
    assert re.sub(r"127\.0\.0\.1:\d+", "api.anthropic.com", said) in quotes()


def test_no_sentence_is_quoted_that_is_not_provoked() -> None:
    assert len(set(quotes())) == len(quotes()) == len(PROVOKED)
