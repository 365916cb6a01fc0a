"""Turns a function into a tool with strict arguments, error messages of our own and a small schema.

Why: the SDK silently ignores unknown arguments, so a misspelled filter would return a wrong number, and its validation
messages are written for programmers. `StrictTool` fixes both and uses only public classes of the SDK.
"""

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ValidationError

from usage_cost_mcp.auth.access import AccessControl
from usage_cost_mcp.errors import CallRateLimitError, UsageCostError
from usage_cost_mcp.redact import redacted
from usage_cost_mcp.reports.answers import Answer

from .execution import ToolResult

# Below WARNING the SDK logs the names of rejected arguments, and a misplaced secret may be among them.
logging.getLogger("mcp.server.mcpserver.server").setLevel(logging.WARNING)

READ_ONLY = ToolAnnotations(read_only_hint=True)


class StrictTool(Tool):
    """A tool that rejects unknown arguments."""

    @classmethod
    def from_function(cls, fn: Any, *args: Any, **options: Any) -> "StrictTool":
        """Create the tool, with unknown arguments forbidden and both schemas minified."""
        tool = cast("StrictTool", super().from_function(fn, *args, **options))
        arguments = tool.fn_metadata.arg_model
        arguments.model_config["extra"] = "forbid"
        arguments.model_rebuild(force=True)
        tool.parameters = minify_schema(arguments.model_json_schema())
        tool.fn_metadata.output_schema = output_outline(tool.fn_metadata.output_schema)
        return tool

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: FBT001, FBT002 - the SDK's signature
    ) -> Any:
        """Run the tool. Only our own errors reach the caller unchanged. A null argument counts as absent."""
        access: AccessControl = context.request_context.lifespan_context.access
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            async with access.guard_call(self.name, arguments) as record:
                result = await super().run(given, context, convert_result)
                if isinstance(result, ToolResult):
                    record.rows, record.cache = result.rows, result.cache_status
                return result
        except CallRateLimitError as error:
            raise ToolError(str(error)) from error
        except UnexpectedToolError as error:
            if isinstance(error.__cause__, UsageCostError):
                raise ToolError(str(error.__cause__)) from error.__cause__
            raise
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(self._arguments_error(error.__cause__)) from error.__cause__
            raise

    def _arguments_error(self, error: ValidationError) -> str:
        """One sentence for each of the first errors, then the accepted arguments."""
        accepted: Mapping[str, Any] = self.parameters.get("properties", {})
        errors = error.errors()[:_MAX_ERRORS]
        sentences = [_argument_error(each["type"], [str(part) for part in each["loc"]], accepted) for each in errors]
        listed = f"Accepted arguments: {', '.join(accepted)}." if accepted else "It takes no arguments."
        return redacted(" ".join([*dict.fromkeys(sentences), f"{self.name} was not run. {listed}"]))


def _argument_error(kind: str, place: Sequence[str], schema: Mapping[str, Any]) -> str:
    name = place[0]
    if kind == "extra_forbidden":
        if name == "timezone":
            return "timezone applies to get_token_usage and cache_hit_ratio only: spend is reported per UTC day."
        similar = difflib.get_close_matches(name, schema, n=1)
        return f"Unknown argument {name!r:.60}.{f' Did you mean {similar[0]}?' if similar else ''}"
    if kind == "missing":
        return f"Missing argument {name!r}."
    return f"{name} must be {_shape(schema.get(name, {}))}."


_MAX_ERRORS = 3
"""How many errors are listed: a call may have ten thousand."""


def _shape(schema: Mapping[str, Any]) -> str:
    """The type of an argument in words, from its schema; every number is an amount of dollars."""
    match schema.get("type"):
        case "array":
            return f'a list, such as ["{schema["items"]["enum"][0]}"]'
        case "object":
            return 'an object from dimension to list of values, such as {"model": ["claude-opus-4-6"]}'
        case "integer":
            return "a whole number"
        case "number":
            return "a number of dollars"
        case "boolean":
            return "true or false"
        case _:
            return "text"


def minify_schema(schema: Any) -> Any:
    """A JSON schema in fewer characters: without titles, which repeat the names, and without empty defaults."""
    match schema:
        case dict():
            return {
                key: _minify_part(key, part)
                for key, part in cast("dict[str, Any]", schema).items()
                if key != "title" and not (key == "default" and not part)
            }
        case list():
            return [minify_schema(part) for part in cast("list[Any]", schema)]
        case _:
            return schema


def _minify_part(key: str, part: Any) -> Any:
    """Property names are kept: a property may be named "title" or "default"."""
    if key == "properties":
        return {name: minify_schema(each) for name, each in part.items()}
    return part if key == "items" else minify_schema(part)


def output_outline(schema: Any) -> dict[str, Any]:
    """The names and types of an answer's own fields; the fields of every answer are not repeated for each tool."""
    own = {name: part for name, part in schema["properties"].items() if name not in Answer.model_fields}
    return {"type": "object", "properties": {name: _types_of(part) for name, part in own.items()}}


def _types_of(part: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in part:
        return {"anyOf": [_types_of(each) for each in part["anyOf"]]}
    return {"type": part.get("type", "object")}
