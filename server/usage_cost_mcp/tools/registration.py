"""How a function becomes a tool: strict arguments, refusals in our own words, a small schema.

Why: the SDK drops unknown arguments in silence, which makes a misspelled filter a wrong number, and its validation
messages are made for programmers. `StrictTool` mends both, with the SDK's public classes only.
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

# Its finer levels print the names of refused arguments, and a name may be a key that was put in the wrong place.
logging.getLogger("mcp.server.mcpserver.server").setLevel(logging.WARNING)

READ_ONLY = ToolAnnotations(read_only_hint=True)


class StrictTool(Tool):
    """A tool that refuses what it does not understand."""

    @classmethod
    def from_function(cls, fn: Any, *args: Any, **options: Any) -> "StrictTool":
        """Make the tool; unknown arguments are forbidden, schemas stripped of what no reader needs."""
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
        """Run the tool; our errors, and only ours, reach the caller as they are. A null argument is one not given."""
        access: AccessControl = context.request_context.lifespan_context.access
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            async with access.guard_call(self.name, arguments) as record:
                result = await super().run(given, context, convert_result)
                if isinstance(result, ToolResult):
                    record.rows, record.cache = result.rows, result.cache_status
                return result
        except CallRateLimitError as refusal:
            raise ToolError(str(refusal)) from refusal
        except UnexpectedToolError as crash:
            if isinstance(crash.__cause__, UsageCostError):
                raise ToolError(str(crash.__cause__)) from crash.__cause__
            raise
        except ToolError as refusal:
            if isinstance(refusal.__cause__, ValidationError):
                raise ToolError(self._arguments_error(refusal.__cause__)) from refusal.__cause__
            raise

    def _arguments_error(self, error: ValidationError) -> str:
        """What was wrong with the arguments, in a sentence each."""
        accepted: Mapping[str, Any] = self.parameters.get("properties", {})
        faults = error.errors()[:_MAX_ERRORS]
        wrong = [_argument_error(each["type"], [str(part) for part in each["loc"]], accepted) for each in faults]
        listed = f"Accepted arguments: {', '.join(accepted)}." if accepted else "It takes no arguments."
        return redacted(" ".join([*dict.fromkeys(wrong), f"{self.name} was not run. {listed}"]))


def _argument_error(kind: str, place: Sequence[str], schema: Mapping[str, Any]) -> str:
    name = place[0]
    if kind == "extra_forbidden":
        if name == "timezone":
            return "timezone is for get_token_usage and cache_hit_ratio: spend exists per UTC day only."
        near = difflib.get_close_matches(name, schema, n=1)
        return f"Unknown argument {name!r:.60}.{f' Did you mean {near[0]}?' if near else ''}"
    if kind == "missing":
        return f"{name} is needed."
    return f"{name} must be {_shape(schema.get(name, {}))}."


_MAX_ERRORS = 3
"""How many are told: a call may have ten thousand."""


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
    """A JSON schema in fewer characters, without titles, which repeat the names, and defaults that say nothing."""
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
    """Names of properties are not the schema's own words: a property may well be called "description"."""
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
