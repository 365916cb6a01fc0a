"""The questions of `evals/` have known answers, and the runner scores right, wrong, looping and failing models."""

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.evals.__main__ import KEY, OUTPUT, main
from tests.evals.cases import Accepted, Case, all_cases
from tests.evals.endpoints import ToolCall
from tests.evals.runner import MAX_TURNS, call, server
from tests.evals.scoring import Called, Score, alternatives, is_right, numbers, score, states_facts
from tests.support.workspace_scoping import TOOLS

CASES = all_cases()
BY_QUESTION = {case.question: case for case in CASES}


def reply_for(way: Accepted) -> str:
    """A reply with exactly the required facts."""
    return ". ".join(alternatives(fact)[0] for fact in way.says)


def test_there_are_sixty_questions_covering_every_tool() -> None:
    assert len({case.name for case in CASES}) == len(BY_QUESTION) == 60
    first_choices = Counter(case.accepted[0].tool for case in CASES)
    assert set(TOOLS) <= first_choices.keys()
    assert first_choices[None] >= 8, "traps, for which no tool has the answer"


@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_every_expected_call_returns_the_expected_facts(case: Case) -> None:
    async with server() as client:
        for way in case.accepted:
            if way.tool is None:
                continue
            called = await call(client, ToolCall("1", way.tool, way.arguments))
            assert is_right(way, called), called.text
            assert way.facts or way.refused
            assert score(case, [called], reply_for(way)) == Score(1, 1, 1)
            amounts = [fact for fact in way.says if re.fullmatch(r"\$?[\d,.]+%?", fact) and way.facts]
            assert states_facts(Accepted(says=amounts), called.text), "the answer contains what a reply must contain"


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("It was $7,309.88.", True),
        ("About 7,310 dollars.", True),
        ("roughly $7.3k", True),
        ("It was $7,400.", False),
        ("No idea.", False),
    ],
)
def test_a_number_may_be_rounded_but_not_wrong(reply: str, right: bool) -> None:  # noqa: FBT001
    assert states_facts(Accepted(says=["$7,309.88"]), reply) is right


def test_numbers_are_parsed_in_all_common_notations() -> None:
    assert list(numbers("4.58 billion, 35.3%, $1,234.50 and 12k")) == [4.58e9, 0.353, 1234.5, 12_000]
    assert list(numbers("in 2026, 12 keys; 7309,88")) == [2026, 12, 7309, 88]


@pytest.mark.parametrize(
    ("reply", "denied"),
    [
        ("Nothing odd in July.", True),
        ("That isn\u2019t reported.", True),
        ("There is no such workspace.", True),
        ("A request costs two cents. Note that prices vary.", False),
    ],
)
def test_a_denial_is_distinguished_from_an_answer(reply: str, denied: bool) -> None:  # noqa: FBT001
    assert states_facts(Accepted(says=["(no)"]), reply) is denied


def test_excluded_words_in_a_reply_cost_the_point() -> None:
    way = Accepted(says=["(no)"], says_not=["$0."])
    assert states_facts(way, "There is no such number.")
    assert not states_facts(way, "There is no such number, but about $0.02.")


def test_other_arguments_are_accepted_if_they_lead_to_the_same_facts() -> None:
    way = Accepted(tool="get_spend", arguments={"period": "2026-10"}, facts={"totals > cost": "7"}, says=["7"])
    case = Case(name="any", question="?", hard="", accepted=[way])
    same = Called("get_spend", {"period": "last_month", "group_by": ["model"]}, {"totals": {"cost": "7"}}, "")
    other = Called("get_spend", {"period": "this_month"}, {"totals": {"cost": "8"}}, "")
    refused = Called("get_spend", {"period": "lately"}, None, "period 'lately' is not known.")
    assert score(case, [refused, same], "7 dollars") == Score(1, 1, 1)
    assert score(case, [other], "7 dollars") == Score(1, 0, 0), "a right number from the wrong days is luck"
    assert score(case, [], "7 dollars") == Score(0, 0, 0)


Model = Callable[[str, bool], Mapping[str, Any] | str]
"""Maps a question, and whether it has a tool result, to a tool call or the reply."""


def right(question: str, has_result: bool) -> Mapping[str, Any] | str:  # noqa: FBT001
    way = BY_QUESTION[question].accepted[0]
    return reply_for(way) if has_result or way.tool is None else {"name": way.tool, "arguments": way.arguments}


def wrong(_question: str, has_result: bool) -> Mapping[str, Any] | str:  # noqa: FBT001
    return "Forty-two." if has_result else {"name": "get_cost", "arguments": {"days": 30}}


def looping(_question: str, _has_result: bool) -> Mapping[str, Any] | str:  # noqa: FBT001
    return {"name": "get_spend", "arguments": {}}


def as_openai(body: Mapping[str, Any], model: Model) -> Any:
    assert [tool["function"]["name"] for tool in body["tools"]] == TOOLS
    system, user, *rest = body["messages"]
    assert "Give period as words" in system["content"]
    assert "2026-11-22" in system["content"]
    reply = model(user["content"], any(message["role"] == "tool" for message in rest))
    if isinstance(reply, str):
        return {"choices": [{"message": {"role": "assistant", "content": reply}}]}
    function = {"name": reply["name"], "arguments": json.dumps(reply["arguments"])}
    call = {"id": "call_1", "type": "function", "function": function}
    return {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}


def as_anthropic(body: Mapping[str, Any], model: Model) -> Any:
    assert [tool["name"] for tool in body["tools"]] == TOOLS
    assert "Give period as words" in body["system"]
    user, *rest = body["messages"]
    reply = model(user["content"], any(part["type"] == "tool_result" for each in rest for part in each["content"]))
    if isinstance(reply, str):
        return {"content": [{"type": "text", "text": reply}]}
    return {"content": [{"type": "tool_use", "id": "toolu_1", "name": reply["name"], "input": reply["arguments"]}]}


ENDPOINTS = {
    "openai": ("/v1/chat/completions", "/v1", "authorization", "Bearer no-real-key", as_openai),
    "anthropic": ("/v1/messages", "", "x-api-key", "no-real-key", as_anthropic),
}


@contextmanager
def endpoint(api: str, model: Model) -> Generator[str]:
    """A scripted model on loopback."""
    path, base, header, key, answer = ENDPOINTS[api]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            known = self.path == path and self.headers[header] == key
            response = json.dumps(answer(body, model)).encode() if known else b"{}"
            self.send_response_only(200 if known else 404)
            self.send_header("content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = Thread(target=serving.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}{base}"
        serving.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(KEY, "no-real-key")


def evaluate(api: str, base_url: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status and the recorded results."""
    status = main(["--model", "scripted", "--base-url", base_url, "--api", api])
    return status, json.loads(OUTPUT.read_text(encoding="utf-8"))["results"]


@pytest.mark.parametrize("api", ENDPOINTS)
def test_a_model_that_is_always_right_gets_every_point(api: str, capsys: pytest.CaptureFixture[str]) -> None:
    with endpoint(api, right) as base_url:
        status, results = evaluate(api, base_url)
    assert status == 0
    assert [each["name"] for each in results if each["score"] != {"tool": 1, "arguments": 1, "answer": 1}] == []
    assert re.search(r"correct of 60 +60 +60 +60 +", capsys.readouterr().out)


@pytest.mark.parametrize("api", ENDPOINTS)
def test_a_model_that_is_always_wrong_gets_none(api: str) -> None:
    with endpoint(api, wrong) as base_url:
        status, results = evaluate(api, base_url)
    assert status == 0
    assert {tuple(each["score"].values()) for each in results} == {(0, 0, 0)}
    assert {len(each["calls"]) for each in results} == {1}


def test_a_model_that_never_stops_calling_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.evals.__main__.all_cases", lambda: CASES[:1])
    with endpoint("openai", looping) as base_url:
        _, results = evaluate("openai", base_url)
    assert len(results[0]["calls"]) == MAX_TURNS
    assert (results[0]["reply"], results[0]["score"]["answer"]) == ("", 0)


def test_a_failing_endpoint_does_not_count_as_a_wrong_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.evals.__main__.all_cases", lambda: CASES[:2])
    with endpoint("openai", right) as base_url:
        status, results = evaluate("anthropic", base_url)
    assert status == 1
    assert all("404" in each["failed"] for each in results)
    assert "correct of 0" in capsys.readouterr().out
