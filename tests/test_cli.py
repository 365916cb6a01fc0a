"""The command line as a shell and a host see it: real processes, real pipes."""

import csv
import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib.metadata import version

import pytest
from mcp import Client, StdioServerParameters

from tests.support import oracle
from tests.support.harness import ask
from tests.support.planted_orgs import OUTPUT, PlantedOrg, Workload
from tests.support.processes import HANDSHAKE, connected_to, environment, message, run, run_here
from usage_cost_mcp.demo import DemoApi, serve_on_loopback

QUARTER = ("period=2026-08-01..2026-10-29", "group_by=model")


@pytest.fixture(scope="module")
def api() -> Generator[str]:
    """An Admin API elsewhere: any server that speaks it will do."""
    with serve_on_loopback(DemoApi(lambda: datetime.now(UTC)).respond) as url:
        yield url


def test_call_gives_every_cent_of_any_admin_api_as_json(api: str) -> None:
    done = run("call", "get_spend", *QUARTER, "--json", env=connected_to(api))
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    expected = oracle.dollars(api, "2026-08-01", "2026-10-29", ["model"])
    assert len(answer["buckets"]) == 90
    assert {series["group"]["model"] for series in answer["series"]} == {group[0] for group in expected}
    for series in answer["series"]:
        days = expected[(series["group"]["model"],)]
        assert [Fraction(cost) for cost in series["values"]["cost"]] == [days[day] for day in answer["buckets"]]
    assert Fraction(answer["totals"]["cost"]) == sum(sum(days.values()) for days in expected.values())


def test_call_gives_every_group_without_being_asked(api: str) -> None:
    wanted = ("call", "get_spend", "period=2026-10", "group_by=workspace_id,description", "--json")
    answer = json.loads(run_here(*wanted, env=connected_to(api)).stdout)
    expected = oracle.dollars(api, "2026-10-01", "2026-10-31", ["workspace_id", "description"])
    assert {tuple(series["group"].values()) for series in answer["series"]} == expected.keys()


def test_call_gives_every_cent_of_every_day_as_csv(api: str) -> None:
    done = run_here("call", "get_spend", *QUARTER, "--format", "csv", env=connected_to(api))
    assert (done.returncode, done.stderr) == (0, "")
    expected = oracle.dollars(api, "2026-08-01", "2026-10-29", ["model"])
    lines = list(csv.DictReader(done.stdout.splitlines()))
    assert len(lines) == 90 * len(expected)
    for line in lines:
        assert Fraction(line["cost"]) == expected[(line["model"] or None,)][line["bucket"]]


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("period=yesterday", 'filter_by={"model": ["claude-opus-4-1"]}'), "Warning: There is no data for model"),
        (("period=yesterday", "filter_by=null_tier"), "Warning: Anthropic does not report Priority Tier cost"),
        (("period=yesterday",), "may not be complete"),
        (("period=2023",), "Warning: There is no data at all for 2023-01-01 to 2023-12-31"),
    ],
    ids=["no match", "in no report", "not billed yet", "no data"],
)
def test_grave_notes_go_to_stderr_where_the_format_may_lose_them(
    form: str, arguments: Sequence[str], warning: str
) -> None:
    now = datetime.now(UTC)
    workload = Workload({OUTPUT: 10**6}, start=(now - timedelta(days=20)).date())
    org = PlantedOrg([workload], now=now, billing_lag=timedelta(days=2, hours=1))
    words = [word.replace("null_tier", '{"service_tier": ["priority"]}') for word in arguments]
    with serve_on_loopback(org) as url:
        done = run_here("call", "get_spend", "granularity=total", *words, "--format", form, env=connected_to(url))
    assert done.returncode == 0
    assert done.stderr.startswith("Warning: ")
    assert warning in done.stderr
    assert "Warning" not in done.stdout


def test_a_table_begins_with_the_grave_notes_so_that_stderr_stays_empty() -> None:
    done = run_here("call", "get_spend", "period=2023", "--demo")
    assert "There is no data at all for 2023-01-01 to 2023-12-31" in done.stdout
    assert done.stderr == ""


def test_call_gives_json_by_either_option(api: str) -> None:
    words = ("call", "list_dimension_values", "dimension=model", "period=2026-10")
    by_format = run_here(*words, "--format", "json", env=connected_to(api))
    by_both = run_here(*words, "--format=json", "--json", env=connected_to(api))
    assert json.loads(by_format.stdout)["values"] == json.loads(by_both.stdout)["values"]


def test_call_prints_a_table_when_told_so() -> None:
    assert "█" in run_here("call", "get_spend", "period=last_7_days", "--format", "table", "--demo").stdout


@pytest.mark.parametrize("form", ["json", "csv"])
def test_call_prints_nothing_but_the_reason_when_it_fails(form: str) -> None:
    done = run_here("call", "get_spend", "period=whenever", "--format", form, "--demo")
    assert (done.returncode, done.stdout) == (1, "")
    assert "whenever" in done.stderr


def test_call_does_not_mind_a_reader_who_leaves() -> None:
    command = (
        f"{sys.executable} -m usage_cost_mcp call get_spend period=2026 group_by=description --json --demo | head -c 9"
    )
    done = subprocess.run(  # the pipe is the point
        ["/bin/sh", "-c", command], capture_output=True, encoding="utf-8", timeout=60, check=False, env=environment()
    )
    assert (done.stdout, done.stderr) == ('{"report"', "")


def test_call_prints_tables_with_bars_for_a_person() -> None:
    done = run("call", "get_spend", "period=last_7_days", "--demo")
    assert done.returncode == 0
    assert done.stdout.startswith("Spend 20")
    assert "█" in done.stdout
    assert "|" not in done.stdout


def test_call_prints_the_text_of_an_answer_without_a_table() -> None:
    done = run_here("call", "get_status", "--demo")
    assert done.stdout.startswith("Connected to Demo Organization")


def test_call_takes_objects_as_json_and_lists_with_commas() -> None:
    wanted = ("group_by=workspace_id,model", 'filter_by={"model": ["claude-opus-4-6"]}', "granularity=total")
    done = run_here("call", "get_spend", "--demo", *wanted, "--json")
    answer = json.loads(done.stdout)
    assert (answer["group_by"], answer["filter_by"]) == (["workspace_id", "model"], {"model": ["claude-opus-4-6"]})


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue", "nonsense"])
def test_days_are_utc_whatever_the_machine_thinks(zone: str) -> None:
    done = run("call", "get_spend", "period=today", "--demo", "--json", env=environment(TZ=zone))
    before_or_after_midnight = {f"{datetime.now(UTC) - timedelta(minutes=ago):%Y-%m-%d}" for ago in (0, 1)}
    assert json.loads(done.stdout)["period"]["start"] in before_or_after_midnight


def test_call_fails_with_the_reason_on_stderr() -> None:
    done = run("call", "get_spend", "group_by=team", "--demo", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("group_by 'team' is not known.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["call", "get_spend", "yesterday", "--demo"], "'yesterday' does not have the form name=value"),
        (["call", "get_spend", "filter_by={model", "--demo"], "filter_by is not valid JSON"),
        (["call", "get_cost", "--demo"], "tool 'get_cost' is not known. Did you mean get_status?"),
        (["call", "get_spend", "--demo", "--verbose"], "unrecognized arguments: --verbose"),
        (["call", "get_spend", "--demo", "--format", "xml"], "invalid choice: 'xml'"),
        (["call", "get_spend", "--demo", "--format", "csv", "--json"], "in one format, not as csv and json"),
        (["call", "get_spend", "--demo", "--format=table", "--format=csv"], "in one format, not as table and csv"),
        (["call", "get_spend", "--demo", "period=today", "period=yesterday"], "period is given twice"),
        (["serve", "period=today"], "unrecognized arguments: period=today"),
        (["repeat"], "invalid choice"),
    ],
)
def test_call_explains_a_slip_of_the_pen(words: list[str], said: str) -> None:
    done = run_here(*words)
    assert done.returncode in {1, 2}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["serve"], ["call", "get_spend"], ["doctor"]], ids=" ".join)
def test_a_start_without_a_key_ends_with_one_helpful_sentence(words: list[str]) -> None:
    done = run_here(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "set ANTHROPIC_ADMIN_API_KEY (it starts with sk-ant-admin)" in done.stderr
    assert "usage-cost-mcp demo" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_ordinary_api_key_is_recognised_before_any_request() -> None:
    done = run_here("serve", env=environment(ANTHROPIC_ADMIN_API_KEY="sk-ant-api03-not-a-real-key"))
    assert done.returncode == 2
    assert "ordinary API key" in done.stderr
    assert "not-a-real-key" not in done.stderr


def test_stdout_carries_nothing_but_protocol_and_the_process_ends_with_its_input() -> None:
    started = [sys.executable, "-m", "usage_cost_mcp", "serve", "--demo"]
    env = environment(USAGE_COST_MCP_LOG_LEVEL="DEBUG")
    pipe = subprocess.PIPE
    with subprocess.Popen(started, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=env) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(HANDSHAKE + message(2, "tools/call", name="get_spend", arguments={"period": "yesterday"}))
        server.stdin.flush()
        lines = [json.loads(server.stdout.readline()) for _ in range(2)]
        server.stdin.close()
        assert server.wait(timeout=2) == 0
        assert server.stdout.read() == ""
    assert [line["id"] for line in lines] == [1, 2]
    assert lines[1]["result"]["structuredContent"]["demo"] is True


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_host_starts_the_server_and_asks_over_stdio(api: str, mode: str) -> None:
    started = StdioServerParameters(command=sys.executable, args=["-m", "usage_cost_mcp"], env=connected_to(api))
    async with Client(started, mode=mode) as client:
        answer = await ask(client, "get_spend", period="2026-10")
    expected = oracle.dollars(api, "2026-10-01", "2026-10-31", [])
    assert Fraction(answer["totals"]["cost"]) == sum(expected[()].values())
    assert answer["demo"] is False


def test_doctor_passes_every_check_on_the_demo_organization() -> None:
    done = run("doctor", "--demo")
    assert done.returncode == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "ok   Admin key",
        "ok   Organization",
        "ok   Clock",
        "ok   Cost report",
        "ok   Usage report",
        "ok   Names",
    ]


def test_doctor_says_what_to_do_when_nothing_answers() -> None:
    done = run("doctor", env=connected_to("http://127.0.0.1:9"))
    assert done.returncode == 1
    assert "FAIL Organization: No connection to 127.0.0.1:9" in done.stdout


def test_demo_answers_five_questions_and_says_how_to_go_on() -> None:
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    for number in range(1, 6):
        assert f"\n{number}. " in f"\n{done.stdout}"
    assert "█" in done.stdout
    assert "claude_desktop_config.json" in done.stdout
    assert "ANTHROPIC_ADMIN_API_KEY" in done.stdout


def test_demo_does_not_mind_a_reader_who_leaves() -> None:
    done = subprocess.run(  # the pipe is the point
        ["/bin/sh", "-c", f"{sys.executable} -m usage_cost_mcp demo | head -n 1"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env=environment(),
    )
    assert (done.stdout, done.stderr) == ("1. What did we spend last month, by model?\n", "")


def test_demo_refuses_a_malformed_setting_before_it_starts() -> None:
    done = run_here("demo", env=environment(USAGE_COST_MCP_LOG_LEVEL="loud"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "USAGE_COST_MCP_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL.\n"


def test_version_and_help_need_no_settings() -> None:
    assert run("--version").stdout.strip() == version("usage-cost-mcp")
    shown = run_here("call", "--help").stdout
    assert "  compare_spend: period, against, group_by, filter_by, top, chart\n" in shown
    assert "  get_status: none\n" in shown
