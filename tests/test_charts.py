"""PNG charts of answers: what a client receives, what they show, and that drawing them is isolated."""

import asyncio
import base64
import html
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from mcp import Client
from mcp.types import CallToolResult, ImageContent

import usage_cost_mcp
from tests.support.canary import KEY
from tests.support.harness import Connect, Upstream, ask, text_of
from usage_cost_mcp.demo import serve_on_loopback
from usage_cost_mcp.demo.http import Request, Response
from usage_cost_mcp.render import vega_to_png as renderer
from usage_cost_mcp.render.charts import OTHER, PALETTE, specification
from usage_cost_mcp.render.terminal import render, waterfall
from usage_cost_mcp.reports.registry import parse_answer
from usage_cost_mcp.reports.series_answer import SeriesAnswer

pytestmark = pytest.mark.anyio

HOSTILE = '{"signal":"1/0"}</text>"];x'
"""A workspace name that must never be executed."""

PICTURES: list[tuple[str, dict[str, Any]]] = [
    ("get_spend", {"group_by": ["model"]}),
    ("get_spend", {}),
    ("get_spend", {"period": "this_month", "group_by": ["workspace_id"], "granularity": "total"}),
    ("get_spend", {"period": "2026-10", "group_by": ["description"], "top": 100}),
    ("get_spend", {"period": "2001-01", "group_by": ["model"]}),
    ("get_spend", {"period": "2001-01-01", "group_by": ["model"]}),
    ("get_token_usage", {"period": "today", "granularity": "hour", "measures": ["all"], "group_by": ["api_key_id"]}),
    ("get_token_usage", {"period": "yesterday", "granularity": "minute"}),
    ("cache_hit_ratio", {"group_by": ["workspace_id"]}),
    ("cache_hit_ratio", {"period": "2001-01-01"}),
    ("compare_spend", {"period": "2026-10", "against": "2026-09"}),
    ("compare_spend", {"group_by": [], "filter_by": {"service_tier": ["batch"]}}),
    ("forecast_spend", {"budget": 8000}),
    ("forecast_spend", {"until": "year_end"}),
]


def picture_of(result: CallToolResult) -> bytes:
    """The only image of a result: complete, small, and about as wide as a chat."""
    (image,) = [block for block in result.content if isinstance(block, ImageContent)]
    assert image.mime_type == "image/png"
    png = base64.b64decode(image.data)
    assert png.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    width, height = struct.unpack(">II", png[16:24])
    assert 1_300 <= width <= 1_640
    assert 300 <= height <= 3_000
    assert len(png) < 300_000
    (length,) = struct.unpack(">I", png[33:37])
    assert len(zlib.decompress(png[41 : 41 + length])) == (4 * width + 1) * height
    return png


async def drawn(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """The Vega-Lite specification of an answer's chart."""
    return specification(parse_answer(await ask(client, tool, **arguments)))


def marks(spec: dict[str, Any], kind: str, panel: int = 0) -> list[dict[str, Any]]:
    """The data rows of all marks of a kind."""
    layers = spec["vconcat"][panel]["layer"]
    return [row for layer in layers if layer["mark"]["type"] == kind for row in layer["data"]["values"]]


@pytest.fixture
def fake_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Replaces the renderer's module by the given source code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return (tmp_path / "vl_convert.py").write_text


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [pytest.param(*each, marks=pytest.mark.slow if nth % 2 else ()) for nth, each in enumerate(PICTURES)],
)
async def test_a_chart_is_added_to_the_unchanged_text_and_structured_halves(
    connect: Connect, tool: str, arguments: dict[str, Any]
) -> None:
    async with connect() as client:
        await client.call_tool(tool, arguments)
        plain = await client.call_tool(tool, arguments)
        result = await client.call_tool(tool, {**arguments, "chart": True})
    picture_of(result)
    assert result.structured_content == plain.structured_content
    assert text_of(result) == text_of(plain)
    assert [block.type for block in plain.content] == ["text"]


async def test_a_chart_of_a_year_of_days_and_eleven_series_is_small(connect: Connect) -> None:
    year = {"period": "2025-11-23..2026-11-22", "group_by": ["description"], "granularity": "day", "top": 10}
    async with connect(max_answer_characters=None) as client:
        result = await client.call_tool("get_spend", {**year, "chart": True})
    answer = result.structured_content
    assert answer
    assert (len(answer["buckets"]), len(answer["series"])) == (365, 11)
    picture_of(result)


@pytest.mark.parametrize("tool", ["get_spend", "cache_hit_ratio", "compare_spend"])
async def test_a_hostile_name_is_plain_text_in_the_chart(client: Client, upstream: Upstream, tool: str) -> None:
    def hostile(request: Request) -> Response | None:
        if not request.path.endswith("workspaces"):
            return None
        response = upstream.respond(request)
        for workspace in response.body["data"]:
            workspace["name"] = HOSTILE
        return response

    upstream.override = hostile
    result = await client.call_tool(tool, {"group_by": ["workspace_id"], "period": "2026-10", "chart": True})
    picture_of(result)
    assert result.structured_content
    svg = vl_convert.vegalite_to_svg(specification(parse_answer(result.structured_content)), allowed_base_urls=[])
    assert HOSTILE in html.unescape(svg)


async def test_each_segment_of_a_column_is_the_cost_of_its_group(client: Client) -> None:
    answer = await ask(client, "get_spend", period="last_7_days", group_by=["model"])
    pieces = marks(specification(parse_answer(answer)), "rect")
    for series in answer["series"]:
        costs = [float(cost) for cost in series["values"]["cost"] if float(cost)]
        heights = [piece["y2"] - piece["y"] for piece in pieces if piece["name"] == series["label"]]
        assert heights == pytest.approx(costs)


async def test_credits_are_drawn_below_zero(client: Client) -> None:
    pieces = marks(await drawn(client, "get_spend", period="2026-10", group_by=["workspace_id"]), "rect")
    assert min(piece["y2"] for piece in pieces) < 0


async def test_groups_beyond_the_number_of_colours_are_merged(connect: Connect) -> None:
    async with connect(max_answer_characters=None) as client:
        answer = await ask(client, "get_spend", period="2026-10", group_by=["description"], top=100)
    spec = specification(parse_answer(answer))
    pieces = spec["vconcat"][0]["layer"][0]
    scale = pieces["encoding"]["color"]["scale"]
    assert scale["range"] == [*PALETTE, OTHER]
    assert scale["domain"][-1] == f"Other ({len(answer['series']) - 10} groups)"
    drawn = sum(row["y2"] - row["y"] for row in pieces["data"]["values"])
    assert drawn == pytest.approx(float(answer["totals"]["cost"]))


@pytest.mark.parametrize(
    ("period", "light"), [("2026-10", set[int]()), ("last_7_days", {4, 5, 6}), ("this_month", {18, 19, 20, 21})]
)
async def test_provisional_days_are_light_and_the_caption_says_so(client: Client, period: str, light: set[int]) -> None:
    spec = await drawn(client, "get_spend", period=period, granularity="day")
    assert {int(bar["x"]) for bar in marks(spec, "rect") if bar["opacity"] < 1} == light
    assert any("Light" in line for line in spec["title"]["subtitle"]) is bool(light)


async def test_a_ratio_is_a_line_that_is_dashed_where_it_may_change(client: Client) -> None:
    answer = await ask(client, "cache_hit_ratio", period="last_7_days", granularity="day")
    solid, dashed = [
        layer["data"]["values"]
        for layer in specification(parse_answer(answer))["vconcat"][0]["layer"]
        if layer["mark"]["type"] == "line"
    ]
    ratios = answer["bucket_totals"]["cache_hit_ratio"]
    assert [point["y"] for point in solid] == ratios[:4]
    assert [point["y"] for point in dashed] == ratios[3:]


async def test_a_waterfall_ends_at_the_whole_change(client: Client) -> None:
    answer = await ask(client, "compare_spend", period="2026-10", against="2026-09")
    *causes, total = marks(specification(parse_answer(answer)), "rect")
    assert [cause["name"] for cause in causes] == [driver["label"] for driver in answer["drivers"]]
    assert [cause["x"] for cause in causes[1:]] == [cause["x2"] for cause in causes[:-1]]
    assert (total["x"], total["x2"]) == (0, float(answer["change"]))
    assert causes[-1]["x2"] == pytest.approx(total["x2"])


async def test_a_comparison_without_drivers_shows_groups(client: Client) -> None:
    answer = await ask(client, "compare_spend", filter_by={"token_type": ["output_tokens"]})
    assert not answer["drivers"]
    *groups, _ = marks(specification(parse_answer(answer)), "rect")
    assert [group["name"] for group in groups] == [group["label"] for group in answer["groups"]]


async def test_a_forecast_fan_starts_after_the_complete_days_and_shows_the_budget(client: Client) -> None:
    answer = await ask(client, "forecast_spend", budget=8000)
    spec = specification(parse_answer(answer))
    band = marks(spec, "area")
    complete = float(answer["cumulative"]["expected"][answer["buckets"].index(answer["complete_until"])])
    assert (band[0]["x"], band[0]["low"], band[0]["high"]) == (21, complete, complete)
    assert (band[-1]["x"], band[-1]["low"], band[-1]["high"]) == (30, float(answer["low"]), float(answer["high"]))
    assert [row["y"] for row in marks(spec, "rule")] == [8000.0]


async def test_groups_with_equal_names_have_different_colours(client: Client) -> None:
    answer = parse_answer(await ask(client, "get_spend", group_by=["model"]))
    assert isinstance(answer, SeriesAnswer)
    twins = [each.model_copy(update={"label": "Twin"}) for each in answer.series]
    spec = specification(answer.model_copy(update={"series": twins}))
    names = spec["vconcat"][0]["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert names[:2] == ["Twin", "Twin (2)"]
    assert len(set(names)) == len(twins)


@pytest.mark.parametrize(
    "text", ["raise ImportError('no such thing')", "def vegalite_to_png(*_, **__): raise ValueError"]
)
async def test_without_the_extra_both_halves_say_how_to_install_it(
    client: Client, fake_renderer: Callable[[str], object], text: str
) -> None:
    fake_renderer(text)
    result = await client.call_tool("get_spend", {"chart": True})
    assert [block.type for block in result.content] == ["text"]
    assert result.structured_content
    assert result.structured_content["notes"][-1]["code"] == "chart_unavailable"
    assert "pip install 'usage-cost-mcp[charts]'" in result.structured_content["notes"][-1]["message"]
    assert "pip install 'usage-cost-mcp\\[charts\\]'" in text_of(result)


async def test_the_renderer_process_does_not_receive_the_key(
    client: Client,
    fake_renderer: Callable[[str], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_ADMIN_API_KEY", KEY)
    fake_renderer("import os, pathlib\npathlib.Path(__file__).with_name('seen').write_text(str(os.environ))")
    await client.call_tool("get_spend", {"chart": True})
    seen = await asyncio.to_thread((tmp_path / "seen").read_text)
    assert "PATH" in seen
    assert KEY not in seen


def test_the_renderer_makes_no_network_requests() -> None:
    asked: list[Request] = []

    def respond(request: Request) -> Response:
        asked.append(request)
        return Response([])

    with serve_on_loopback(respond) as url:
        spec = {"data": {"url": f"{url}/data.json"}, "mark": "bar", "encoding": {}}
        done = subprocess.run(
            [sys.executable, "-P", str(renderer.__file__)],
            input=json.dumps(spec).encode(),
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode
    assert b"not allowed" in done.stderr
    assert not asked


@pytest.mark.parametrize("chart", ["false", "true"])
def test_the_server_never_imports_the_renderer_and_starts_it_only_on_request(chart: str) -> None:
    program = (
        "import sys; from usage_cost_mcp.cli.main import main\n"
        f"main(['call', 'get_spend', 'period=last_7_days', 'chart={chart}', '--demo', '--json'])\n"
        "print(sorted({'vl_convert', 'usage_cost_mcp.render.charts'} & sys.modules.keys()), file=sys.stderr)"
    )
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "USAGE_COST_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
        env=inherited,
    )
    assert done.stderr.strip() == ("['usage_cost_mcp.render.charts']" if chart == "true" else "[]")
    assert json.loads(done.stdout)["report"] == "spend"


async def test_chart_must_be_true_or_false(client: Client) -> None:
    result = await client.call_tool("get_spend", {"chart": "pie"})
    assert result.is_error
    assert "chart must be true or false" in text_of(result)


def test_the_terminal_waterfall_steps_from_driver_to_driver() -> None:
    whole, half = "█" * 32, "░" * 16
    assert waterfall([2.0, -1.0]) == [whole, f"{' ' * 16}{half}", "█" * 16]
    assert waterfall([0.0]) == ["", ""]


async def test_the_terminal_draws_drivers_and_the_cumulative_forecast(client: Client) -> None:
    comparison = render(parse_answer(await ask(client, "compare_spend", period="2026-10", against="2026-09")))
    forecast = render(parse_answer(await ask(client, "forecast_spend", budget=8000)))
    assert "+$622.64  █" in comparison
    assert "2026-11-21   $4,940.37  █" in forecast
    assert "2026-11-30   $6,994.45  ░" in forecast


def test_the_png_and_the_interactive_chart_use_the_same_colours() -> None:
    page = (Path(usage_cost_mcp.__file__).parent / "view" / "chart.html").read_text(encoding="utf-8")
    assert ", ".join(f'"{colour}"' for colour in PALETTE) in page
    assert f'OTHER = "{OTHER}"' in page
