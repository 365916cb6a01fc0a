"""This server with the fixtures of the official conformance suite: tools, prompts and resources.

`test_conformance.py` starts it: `python conformance_server.py streams` serves over the SDK's default HTTP transport,
`... answers` like `serve --http`: no sessions, single JSON responses. The first line of output is the URL.

The scenarios of the suite describe the fixtures. They are registered like the tools of this server.
"""

import asyncio
import json
import socket
import sys
from base64 import b64decode
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from unittest.mock import patch

import uvicorn
from mcp.server import MCPServer
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Elicit, Resolve, Sample
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import Message, UserMessage
from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequests,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from usage_cost_mcp import app
from usage_cost_mcp.demo import DemoApi, serve_on_loopback
from usage_cost_mcp.http.access import HttpAccess
from usage_cost_mcp.http.server import bind, serve
from usage_cost_mcp.http.settings import HttpSettings
from usage_cost_mcp.settings import Settings
from usage_cost_mcp.tools.catalogue import all_tools
from usage_cost_mcp.tools.execution import ToolContext
from usage_cost_mcp.tools.registration import StrictTool
from usage_cost_mcp.tools.service import Service

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
IMAGE = ImageContent(data=PIXEL, mime_type="image/png")


class Nothing(BaseModel):
    """The output schema of a fixture: every tool of this server needs one."""


Result = Annotated[CallToolResult, Nothing]


def result(*parts: str | ContentBlock) -> CallToolResult:
    content = [TextContent(text=part) if isinstance(part, str) else part for part in parts]
    return CallToolResult(content=content, structured_content={})


def embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


# Tools that answer


async def test_simple_text() -> Result:
    return result("This is a simple text response for testing.")


async def test_image_content() -> Result:
    return result(IMAGE)


async def test_audio_content() -> Result:
    return result(AudioContent(data=SILENCE, mime_type="audio/wav"))


async def test_embedded_resource() -> Result:
    return result(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


async def test_multiple_content_types() -> Result:
    data = json.dumps({"test": "data", "value": 123})
    resource = embedded("test://mixed-content-resource", "application/json", data)
    return result("Multiple content types test:", IMAGE, resource)


async def test_error_handling() -> Result:
    raise ToolError("This tool intentionally returns an error for testing")


async def test_tool_with_progress(ctx: ToolContext) -> Result:
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100)
        await asyncio.sleep(0.05)
    return result("Done.")


async def test_tool_with_logging(ctx: ToolContext) -> Result:
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(text)  # pyright: ignore[reportDeprecated]
        await asyncio.sleep(0.05)
    return result("Done.")


async def test_custom_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> Result:
    return result(region)


# Tools that ask the client


class User(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


Option = Literal["option1", "option2", "option3"]
TITLED: Any = [
    {"const": f"value{n}", "title": f"{nth} Option"} for n, nth in enumerate(("First", "Second", "Third"), 1)
]
LEGACY: Any = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}


class Enums(BaseModel):
    untitled_single: Option = Field(alias="untitledSingle")
    titled_single: Annotated[str, Field(alias="titledSingle", json_schema_extra={"oneOf": TITLED})]
    legacy_enum: Annotated[str, Field(alias="legacyEnum", json_schema_extra=LEGACY)]
    untitled_multi: list[Option] = Field(alias="untitledMulti")
    titled_multi: list[str] = Field(alias="titledMulti", json_schema_extra={"items": {"anyOf": TITLED}})


def query(prompt: str) -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(text=prompt))], max_tokens=100)


def any_question() -> Sample:
    return query("What is the capital of France?")


def user(message: str) -> Elicit[User]:
    return Elicit(message, User)


def defaults() -> Elicit[Defaults]:
    return Elicit("Is this right?", Defaults)


def enums() -> Elicit[Enums]:
    return Elicit("Which?", Enums)


async def test_sampling(prompt: str, reply: Annotated[CreateMessageResult, Resolve(query)]) -> Result:
    return result(f"LLM response to {prompt}: {reply.content}")


async def test_missing_capability(reply: Annotated[CreateMessageResult, Resolve(any_question)]) -> Result:
    return result(f"LLM response: {reply.content}")


async def test_elicitation(message: str, answer: Annotated[User, Resolve(user)]) -> Result:
    return result(f"User response to {message}: {answer}")


async def test_elicitation_sep1034_defaults(answer: Annotated[Defaults, Resolve(defaults)]) -> Result:
    return result(f"Elicitation completed: {answer}")


async def test_elicitation_sep1330_enums(answer: Annotated[Enums, Resolve(enums)]) -> Result:
    return result(f"Elicitation completed: {answer}")


# Tools and a prompt that need several rounds, in 2026-07-28


def form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


NAME = form("What is your name?", "name")
CONFIRMATION = form("Please confirm", "ok", "boolean")
CAPITAL = CreateMessageRequest(params=CreateMessageRequestParams(messages=any_question().params.messages, max_tokens=9))
ROOTS = ListRootsRequest()


def next_round(ctx: ToolContext, *rounds: InputRequests) -> InputRequiredResult | None:
    """The next round of input requests, if any; the state that the client returns is the number of the round."""
    number = int(ctx.request_state or 0)
    number += rounds[number].keys() <= (ctx.input_responses or {}).keys()
    if number == len(rounds):
        return None
    return InputRequiredResult(input_requests=rounds[number], request_state=str(number))


def asking(name: str, *rounds: InputRequests) -> StrictTool:
    async def ask(ctx: ToolContext) -> Result | InputRequiredResult:
        return next_round(ctx, *rounds) or result(f"state-ok: {ctx.input_responses}")

    return StrictTool.from_function(ask, name=name, description="Requests input.")


async def test_input_required_result_capabilities(ctx: ToolContext) -> Result | InputRequiredResult:
    able = ctx.client_capabilities
    asks: InputRequests = {}
    if able and able.sampling:
        asks["capital"] = CAPITAL
    if able and able.elicitation:
        asks["name"] = NAME
    return next_round(ctx, asks) or result("Done.")


async def test_input_required_result_prompt(ctx: ToolContext) -> list[Message] | InputRequiredResult:
    return next_round(ctx, {"user_context": form("What context?", "context")}) or [UserMessage("Done.")]


FUNCTIONS = [
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    test_tool_with_progress,
    test_tool_with_logging,
    test_custom_header,
    test_sampling,
    test_missing_capability,
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_input_required_result_capabilities,
]


def schema_tool() -> StrictTool:
    """A tool with the schema that the suite checks."""
    tool = StrictTool.from_function(test_simple_text, name="json_schema_2020_12_tool", description="Has a schema.")
    tool.parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"city": {"type": "string"}}}},
        "properties": {
            "address": {"$ref": "#/$defs/address"},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"required": ["phone"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }
    return tool


def fixture_tools() -> Iterator[StrictTool]:
    for function in FUNCTIONS:
        yield StrictTool.from_function(function, description="Does what its name says.")
    yield StrictTool.from_function(test_tool_with_logging, name="test_logging_tool", description="Logs.")
    yield schema_tool()
    several = {"user_name": NAME, "greeting": CAPITAL, "client_roots": ROOTS}
    yield asking("test_streaming_elicitation", {"user_name": NAME})
    yield asking("test_input_required_result_elicitation", {"user_name": NAME})
    yield asking("test_input_required_result_sampling", {"capital_question": CAPITAL})
    yield asking("test_input_required_result_list_roots", {"client_roots": ROOTS})
    yield asking("test_input_required_result_request_state", {"confirm": CONFIRMATION})
    yield asking("test_input_required_result_tampered_state", {"confirm": CONFIRMATION})
    yield asking("test_input_required_result_multiple_inputs", several)
    yield asking("test_input_required_result_multi_round", {"step1": NAME}, {"step2": form("Which color?", "color")})


# Prompts and resources


async def test_simple_prompt() -> str:
    return "This is a simple prompt for testing."


async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


async def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:  # noqa: N803 - the suite's name
    resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]


async def test_prompt_with_image() -> list[Message]:
    return [UserMessage(IMAGE), UserMessage("Please analyze the image above.")]


PROMPTS = [
    test_simple_prompt,
    test_prompt_with_arguments,
    test_prompt_with_embedded_resource,
    test_prompt_with_image,
    test_input_required_result_prompt,
]


def static_text() -> str:
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    return b64decode(PIXEL)


def template(id: str) -> str:  # noqa: A002 - the suite's name
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


# Three methods that the SDK's high-level server leaves out, which 2025-11-25 still has


async def older_methods(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    older = {"resources/subscribe", "resources/unsubscribe", "logging/setLevel"}
    return {} if ctx.method in older and ctx.protocol_version == "2025-11-25" else await call_next(ctx)


@contextmanager
def server_with_fixtures() -> Generator[tuple[MCPServer[Service], HttpAccess]]:
    def with_fixtures() -> list[Any]:
        return [*all_tools(), *fixture_tools()]

    with (
        serve_on_loopback(DemoApi(lambda: datetime.now(UTC)).respond) as url,
        patch.object(app, "all_tools", with_fixtures),
    ):
        server, access = app.build_http_server(Settings.for_demo({}, url), SETTINGS)
        for prompt in PROMPTS:
            server.prompt(description="Says what its name says.")(prompt)
        server.resource("test://static-text", description="A text.", mime_type="text/plain")(static_text)
        server.resource("test://static-binary", description="An image.", mime_type="image/png")(static_binary)
        server.resource("test://template/{id}/data", mime_type="application/json")(template)
        server.middleware.append(older_methods)
        yield server, access


SETTINGS = HttpSettings(port=0, calls_per_minute=100_000)


def serve_streams(server: MCPServer[Service], _access: HttpAccess, listening: socket.socket) -> None:
    """The SDK's default transport: sessions, and events during a call."""
    uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning")).run(sockets=[listening])


def serve_answers(server: MCPServer[Service], access: HttpAccess, listening: socket.socket) -> None:
    """The transport of `serve --http`: no sessions, single JSON responses."""
    serve(server, access, SETTINGS, listening)


def main(transport: str) -> None:
    serve_until_killed = {"streams": serve_streams, "answers": serve_answers}[transport]
    with server_with_fixtures() as (server, access), bind(SETTINGS) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)  # noqa: T201 - the test reads it
        serve_until_killed(server, access, listening)


if __name__ == "__main__":
    main(sys.argv[1])
