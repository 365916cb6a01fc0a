/**
 * The chart in a real browser, inside the official host code, answered by the real server.
 *
 * Usage: node chart.mjs PLAN, where PLAN is a JSON file: {python, key, upstream, hostile, year, screenshots}. Prints a line of
 * JSON for each case: {name, error}. test_view.py makes the plan and reads the lines.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { build } from "esbuild";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const URI = "ui://usage-cost/chart.html";
const MIME_TYPE = "text/html;profile=mcp-app";

/** The policy that a host sends when the resource requests nothing. */
const DEFAULT_CSP = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; " +
  "img-src 'self' data:; media-src 'self' data:; connect-src 'none'";

const cases = [];
const test = (name, run) => cases.push({ name, run });

// ---- The cases ----

const WEEK = { period: "last_7_days", group_by: ["model"] };
const OCTOBER = { period: "2026-10", against: "previous_month" };
const RATIOS = { period: "last_30_days", group_by: ["model"] };
const MONTH = { period: "this_month", group_by: ["workspace_id"] };

test("spend is drawn as stacked bars that stand for every value", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", WEEK);
  assert.equal(await app.text("#title"), "Spend by model");
  assert.equal(await app.text("#summary"), answer.summary);
  assert.equal(await app.count(".bar"), values(answer, "cost").filter((value) => Number(value) !== 0).length);
  assert.deepEqual(await app.texts("#legend .name"), answer.series.map(({ label }) => label));
  const heights = await app.heights(3);
  const amounts = answer.series.map(({ values: { cost } }) => Number(cost[3])).filter(Boolean);
  assert.ok(Math.abs(heights[0] / heights[1] - amounts[0] / amounts[1]) < .03, `${heights} for ${amounts}`);
});

test("a credit is drawn below zero", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", { period: "last_month" });
  const day = answer.buckets.indexOf("2026-10-25");
  assert.ok(Number(answer.totals.cost) > 0 && Number(answer.bucket_totals.cost[day]) < 0);
  const zero = Number(await app.locator("line.zero").getAttribute("y1"));
  const bar = app.locator(`.bar[data-index="${day}"]`);
  assert.ok(Math.abs(Number(await bar.getAttribute("y")) - zero) < 1);
});

test("exact values are shown on hover", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", WEEK);
  await app.locator('.bar[data-index="2"]').first().hover();
  const tip = await app.text("#tip");
  assert.ok(tip.includes("Tue 2026-11-17"), tip);
  for (const { label, values: { cost } } of answer.series) assert.ok(tip.includes(`${label}${dollars(cost[2])}`), tip);
  assert.ok(tip.includes(`Total${dollars(answer.bucket_totals.cost[2])}`), tip);
  assert.equal(await app.text("#live"), `Tue 2026-11-17: ${answer.series[0].label} ${dollars(answer.series[0].values.cost[2])}`);
  assert.deepEqual(await app.texts("#tip .hot .name"), [answer.series[0].label]);
});

test("the legend hides a group, the scale follows and the sum of the rest is exact", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", WEEK);
  const before = await app.texts("svg text");
  await app.locator("#legend button").first().click();
  assert.equal(await app.count('[data-group="0"]'), 0);
  assert.equal(await app.locator("#legend button").first().getAttribute("aria-pressed"), "false");
  assert.notDeepEqual(await app.texts("svg text"), before);
  await app.locator('.bar[data-index="2"]').first().hover();
  const rest = answer.series.slice(1).map(({ values: { cost } }) => cost[2]);
  assert.ok((await app.text("#tip")).includes(`Shown${dollars(exactSum(rest))}`), await app.text("#tip"));
  await app.locator("#legend button").first().click();
  assert.deepEqual(await app.texts("svg text"), before);
});

test("days that are in progress or provisional are hatched, and the key says so", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", MONTH);
  assert.deepEqual(answer.partial_buckets, ["2026-11-22"]);
  assert.equal(await app.count('.hatched[data-standing="partial"]'), 1);
  assert.equal(await app.count('.hatched[data-standing="provisional"]'), 3);
  assert.deepEqual(await app.texts("#keys li"), ["provisional (from 2026-11-19 on)", "partial"]);
});

test("ratios are drawn as lines with the overall ratio in the values", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "cache_hit_ratio", RATIOS);
  assert.equal(await app.count(".lines path.series"), answer.series.length);
  await app.locator("#plot").hover({ position: { x: 350, y: 60 } });
  const tip = await app.text("#tip");
  const day = answer.buckets.findIndex((bucket) => tip.includes(bucket));
  assert.ok(tip.includes(`All${(answer.bucket_totals.cache_hit_ratio[day] * 100).toFixed(2)}%`), tip);
  assert.ok((await app.texts("svg text")).some((label) => label.endsWith("%")));
});

test("another measure of the same answer can be selected", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_token_usage", { period: "this_month", group_by: ["model"] });
  assert.deepEqual(await app.texts("#show option"), ["input tokens", "output tokens"]);
  const before = await app.texts("#legend .value");
  await app.locator("#show").selectOption("output_tokens");
  assert.notDeepEqual(await app.texts("#legend .value"), before);
  assert.equal(await app.count(".bar"), values(answer, "output_tokens").filter(Boolean).length);
});

test("a single bucket is drawn as one bar for each group", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", { ...MONTH, granularity: "total" });
  assert.equal(await app.count(".rows li"), answer.series.length);
  await app.locator(".rows li").first().hover();
  assert.ok((await app.text("#tip")).includes(dollars(answer.series[0].totals.cost)), await app.text("#tip"));
});

test("a comparison is drawn as a waterfall from one total to the other", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "compare_spend", OCTOBER);
  assert.equal(await app.count(".rows li"), answer.drivers.length + 2);
  const marks = await app.locator(".mark").evaluateAll((each) => each.map((mark) => mark.getBoundingClientRect().toJSON()));
  [1, ...answer.drivers.map(({ change }) => Number(change))].forEach((change, index) => {
    const joint = change > 0 ? marks[index].right : marks[index].left, next = marks[index + 1];
    assert.ok(Math.abs(joint - next.left) < 3 || Math.abs(joint - next.right) < 3, `${index}: ${joint} ${JSON.stringify(next)}`);
  });
  await app.locator(".rows li").nth(1).hover();
  assert.ok((await app.text("#tip")).includes(dollars(answer.drivers[0].change)), await app.text("#tip"));
});

test("periods of different lengths are compared by their totals, with the days as a cause", async ({ open, ask }) => {
  const app = await open();
  const october = await ask(app, "compare_spend", OCTOBER);
  const ends = [october.previous_cost, october.cost].map((cost) => Number(cost).toLocaleString("en-US", { style: "currency", currency: "USD" }));
  const words = await app.texts(".head span:last-child");
  assert.deepEqual([words[0], words.at(-1)], ends);
  assert.ok((await app.texts(".rows li")).some((row) => row.includes("31 instead of 30 days")));
});

test("a comparison also shows its groups", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "compare_spend", OCTOBER);
  await app.locator("#show").selectOption("groups");
  assert.equal(await app.count(".rows li"), answer.groups.length);
  await app.locator(".rows li").first().hover();
  for (const amount of [answer.groups[0].cost, answer.groups[0].previous_cost]) {
    assert.ok((await app.text("#tip")).includes(dollars(amount)), await app.text("#tip"));
  }
});

test("a forecast is drawn as a fan with the budget across it", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "forecast_spend", { budget: 8000 });
  for (const part of ["#fan", "#spent", "#expected", "#budget"]) assert.equal(await app.count(part), 1, part);
  await app.locator("#plot").focus();
  await app.press("End");
  const tip = await app.text("#tip");
  for (const each of ["expected", "low", "high"]) assert.ok(tip.includes(dollars(answer[each])), tip);
  assert.ok(tip.includes("Budget$8,000.00"), tip);
  await app.press("Home");
  assert.ok((await app.text("#tip")).includes(`Spent so far${dollars(answer.cumulative.expected[0])}`));
});

test("a forecast without a budget has no budget line", async ({ open, ask }) => {
  const app = await open();
  await ask(app, "forecast_spend", { until: "quarter_end" });
  assert.equal(await app.count("#fan"), 1);
  assert.equal(await app.count("#budget"), 0);
});

test("the table holds every exact value", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", MONTH);
  await app.locator("#as-table").click();
  assert.equal(await app.locator("#chart").isVisible(), false);
  assert.equal(await app.count("tbody tr"), answer.buckets.length + 1);
  const first = await app.texts("tbody tr:first-child > *");
  assert.deepEqual(first.slice(1, -2), answer.series.map(({ values: { cost } }) => dollars(cost[0])));
  assert.deepEqual((await app.texts("tbody tr:last-child > *")).at(-2), dollars(answer.totals.cost));
  assert.equal(await app.text("tbody tr:nth-last-child(2) td:last-child"), "partial");
  assert.equal(await app.count("th[scope=col]"), answer.series.length + 3);
  assert.equal(await app.count("th[scope=row]"), answer.buckets.length + 1);
  await app.locator("#as-chart").click();
  assert.ok(await app.count(".bar"));
});

test("the table is copied as CSV, through the host's permission", async ({ open, ask }) => {
  const app = await open({ permissions: { clipboardWrite: {} } });
  const answer = await ask(app, "get_spend", WEEK);
  await app.locator("#copy").click();
  await app.locator("#status", { hasText: "Copied." }).waitFor();
  const [head, first] = (await app.pasted()).split("\r\n").map((line) => line.split(","));
  assert.deepEqual(head, ["day", ...answer.series.map(({ label }) => label), "Total", "status"]);
  assert.deepEqual(first, [
    "2026-11-15", ...answer.series.map(({ values: { cost } }) => cost[0]), answer.bucket_totals.cost[0], "",
  ]);
});

test("the table is copied also without permission for the clipboard", async ({ open, ask }) => {
  const app = await open({ expected: /Clipboard/ });
  await ask(app, "get_spend", WEEK);
  await app.locator("#copy").click();
  await app.locator("#status", { hasText: "Copied." }).waitFor();
  assert.ok((await app.pasted()).startsWith("day,claude-"));
  assert.equal(await app.locator("#manual").isVisible(), false);
});

test("no cell of the CSV is a formula", async ({ open, show }) => {
  const app = await open({ permissions: { clipboardWrite: {} } });
  const names = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "say \"hi\", Bob", "-5"];
  await show(app, {}, made({ labels: names, cost: ["-1.50"] }));
  await app.locator("#copy").click();
  await app.locator("#status", { hasText: "Copied." }).waitFor();
  const lines = (await app.pasted()).trim().split("\r\n");
  assert.deepEqual(lines, [
    "group,cost", "'=1+1,-1.50", "'+1+1,-1.50", "'-1+1,-1.50", "'@SUM(A1),-1.50", "'\t=1,-1.50",
    '"say ""hi"", Bob",-1.50', "-5,-1.50",
  ]);
});

test("regrouping calls the tool again, through the host", async ({ open, ask, calls }) => {
  const app = await open();
  await ask(app, "get_spend", { ...WEEK, top: 3, filter_by: { model: ["claude-opus-4-6"] } });
  await app.locator("#by").selectOption("workspace_id");
  await app.locator("#title", { hasText: "Spend by workspace" }).waitFor();
  assert.deepEqual(calls.at(-1), {
    name: "get_spend",
    arguments: { period: "last_7_days", group_by: ["workspace_id"], top: 3, filter_by: { model: ["claude-opus-4-6"] } },
  });
  assert.ok((await app.texts("#legend .name")).includes("Research"));
  await app.locator("#by").selectOption("");
  await app.locator("#title", { hasText: /^Spend$/ }).waitFor();
  assert.deepEqual(calls.at(-1).arguments.group_by, []);
});

test("exactly the dimensions that a tool accepts are offered for grouping", async ({ open, ask, tools }) => {
  for (const name of ["get_spend", "get_token_usage", "cache_hit_ratio", "compare_spend"]) {
    const app = await open();
    await ask(app, name, {});
    const offered = await app.locator("#by option").evaluateAll((each) => each.map(({ value }) => value));
    const accepted = tools.find((tool) => tool.name === name).inputSchema.properties.group_by.items.enum;
    assert.deepEqual(offered.filter(Boolean).sort(), [...accepted].sort(), name);
    await app.close();
  }
});

test("an error is shown and the chart stays", async ({ open, ask }) => {
  const app = await open();
  await ask(app, "get_spend", WEEK);
  const bars = await app.count(".bar");
  app.refuse("The Admin API is not reachable; ask again in a minute.");
  await app.locator("#by").selectOption("workspace_id");
  await app.locator("#status", { hasText: "not reachable" }).waitFor();
  assert.equal(await app.count(".bar"), bars);
  assert.equal(await app.locator("#by").inputValue(), "model");
});

test("without tool calls in the host there is no regrouping", async ({ open, ask }) => {
  const app = await open({ capabilities: {} });
  await ask(app, "get_spend", WEEK);
  assert.equal(await app.locator("#by").isVisible(), false);
  assert.ok(await app.count(".bar"));
});

test("the next answer replaces the chart", async ({ open, ask }) => {
  const app = await open();
  await ask(app, "get_spend", WEEK);
  await app.locator("#legend button").first().click();
  const answer = await ask(app, "get_spend", { period: "last_month" });
  assert.equal(await app.text("#summary"), answer.summary);
  assert.equal(await app.count(".bar"), 31);
  await ask(app, "forecast_spend", {});
  assert.equal(await app.count("#fan"), 1);
  assert.equal(await app.count(".bar"), 0);
});

test("the message of a failed call is shown", async ({ open, show }) => {
  const app = await open();
  await show(app, {}, { isError: true, content: [{ type: "text", text: "The key is refused." }] }, false);
  await app.locator("#status", { hasText: "The key is refused." }).waitFor();
  assert.equal(await app.locator("#controls").isVisible(), false);
});

test("messages from other windows are ignored", async ({ open, ask, page }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", WEEK);
  await app.locator("html").evaluate((_, structuredContent) => new Promise((resolve) => {
    window.addEventListener("message", () => resolve(), { once: true });
    window.postMessage({ jsonrpc: "2.0", method: "ui/notifications/tool-result", params: { structuredContent } }, "*");
  }), { ...answer, summary: "Forged." });
  assert.equal(await app.text("#summary"), answer.summary);
});

test("hostile names are text, in the chart, the table and the tip", async ({ open, ask }) => {
  const app = await open({ server: "hostile" });
  const answer = await ask(app, "get_spend", { ...MONTH, period: "last_month" });
  const labels = answer.series.map(({ label }) => label);
  assert.ok(labels.some((label) => label.includes("<img")) && labels.some((label) => label.includes("<script>")), labels);
  assert.deepEqual(await app.texts("#legend .name"), labels);
  await app.locator(".bar").first().hover();
  assert.ok((await app.text("#tip")).includes("<img"));
  await app.stays("hostile names");
  await app.locator("#as-table").click();
  assert.deepEqual((await app.texts("thead th")).slice(1, -1), labels);
  assert.equal(await app.count("img, main script, a"), 0);
  assert.equal(await app.locator("html").evaluate(() => window.pwned), undefined);
  await app.stays("hostile names in the table");
});

test("a year of days by eleven groups is drawn completely, inside the page", async ({ open, show }) => {
  const app = await open();
  const answer = JSON.parse(readFileSync(plan.year, "utf8"));
  assert.deepEqual([answer.buckets.length, answer.series.length], [365, 11]);
  await show(app, {}, { content: [], structuredContent: answer });
  assert.equal(await app.count(".bar"), values(answer, "cost").filter((value) => Number(value) !== 0).length);
  await app.stays("a year");
  await app.locator("#plot").focus();
  await app.press("End");
  assert.ok((await app.text("#tip")).includes(dollars(answer.bucket_totals.cost.at(-1))));
  await app.stays("a year, last day");
});

const narrow = (tool, args) => async ({ open, ask }) => {
  const app = await open({ width: 320 });
  await ask(app, tool, args);
  await app.stays("at first");
  await app.locator("#plot").focus();
  await app.press("End");
  await app.stays("with the tip of the last item");
  await app.locator("#as-table").click();
  await app.stays("as a table");
};
test("spend does not overflow at a width of 320 pixels", narrow("get_spend", MONTH));
test("ratios do not overflow at a width of 320 pixels", narrow("cache_hit_ratio", RATIOS));
test("a comparison does not overflow at a width of 320 pixels", narrow("compare_spend", OCTOBER));
test("a forecast does not overflow at a width of 320 pixels", narrow("forecast_spend", { budget: 8000 }));

test("it is redrawn for another width, and reports its height to the host", async ({ open, ask, page }) => {
  const app = await open({ width: 360 });
  await ask(app, "get_spend", WEEK);
  const narrow = Number(await app.locator("svg").getAttribute("width"));
  await page().setViewportSize({ width: 1100, height: 800 });
  await app.locator('svg[width="1060"]').waitFor();
  assert.ok(narrow < 360);
  const height = await app.locator("main").evaluate((main) => Math.ceil(main.getBoundingClientRect().height));
  await app.eventually(() => page().evaluate(() => window.host.sizes.at(-1)), height);
  await app.stays("wide");
});

test("it is dark in a dark host, and uses the host's colours", async ({ open, ask, page }) => {
  const app = await open({ context: { theme: "dark" } });
  await ask(app, "get_spend", WEEK);
  assert.equal(await app.background(), "rgb(31, 30, 29)");
  await page().evaluate(() => window.host.context({
    theme: "dark",
    styles: { variables: { "--color-background-primary": "rgb(1, 20, 40)", "--color-text-primary": "rgb(250, 240, 230)" } },
  }));
  await app.eventually(() => app.background(), "rgb(1, 20, 40)");
  assert.equal(await app.locator("h1").evaluate((title) => getComputedStyle(title).color), "rgb(250, 240, 230)");
});

test("it follows the host from light to dark", async ({ open, ask, page }) => {
  const app = await open({ context: { theme: "light" } });
  await ask(app, "forecast_spend", { budget: 8000 });
  assert.equal(await app.background(), "rgb(255, 255, 255)");
  await page().evaluate(() => window.host.context({ theme: "dark" }));
  await app.eventually(() => app.background(), "rgb(31, 30, 29)");
});

test("everything can be reached and read by keyboard", async ({ open, ask, page }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", WEEK);
  await page().locator("iframe").focus();
  const reached = [];
  for (let turn = 0; turn < 14; turn += 1) {
    await app.press("Tab");
    reached.push(await app.locator("html").evaluate(() => document.activeElement.id || document.activeElement.title));
  }
  const wanted = ["by", "as-chart", "as-table", "copy", "plot", ...answer.series.map(({ label }) => label)];
  assert.deepEqual(reached.filter((id) => wanted.includes(id)).slice(0, wanted.length), wanted);
  await app.locator("#plot").focus();
  await app.press("ArrowRight");
  assert.ok((await app.text("#live")).startsWith("Sun 2026-11-15: "));
  await app.press("ArrowRight");
  assert.ok((await app.text("#live")).includes(`Total ${dollars(answer.bucket_totals.cost[1])}`));
  await app.press("ArrowUp");
  assert.equal(await app.text("#live"), `Mon 2026-11-16: ${answer.series[0].label} ${dollars(answer.series[0].values.cost[1])}`);
  await app.press("Escape");
  assert.equal(await app.locator("#tip").isVisible(), false);
  await app.locator("#legend button").first().focus();
  await app.press("Enter");
  assert.equal(await app.count('[data-group="0"]'), 0);
});

test("a screen reader finds names, roles and a table with a caption", async ({ open, ask, page }) => {
  const app = await open();
  const answer = await ask(app, "get_spend", WEEK);
  await app.role("application", { name: answer.summary }).waitFor();
  await app.role("combobox", { name: "Group by" }).waitFor();
  await app.role("button", { name: "Table", pressed: false }).click();
  await app.role("table", { name: answer.summary }).waitFor();
  await app.role("columnheader", { name: answer.series[0].label }).waitFor();
  await app.role("rowheader", { name: "2026-11-15" }).waitFor();
});

test("the arrow keys move through the rows of a comparison", async ({ open, ask }) => {
  const app = await open();
  const answer = await ask(app, "compare_spend", OCTOBER);
  await app.locator("#plot").focus();
  await app.press("ArrowDown");
  await app.press("ArrowDown");
  assert.ok((await app.text("#live")).includes(answer.drivers[0].label));
});

test("it works in a sandbox with an opaque origin", async ({ open, ask }) => {
  const app = await open({ sandbox: "allow-scripts" });
  await ask(app, "get_spend", WEEK);
  await app.locator("#by").selectOption("workspace_id");
  await app.locator("#title", { hasText: "Spend by workspace" }).waitFor();
  assert.ok(await app.count(".bar"));
});

test("it answers the host's teardown request", async ({ open, ask, page }) => {
  const app = await open();
  await ask(app, "get_spend", WEEK);
  assert.deepEqual(await page().evaluate(() => window.host.tearDown()), {});
});

test("nothing can be loaded or evaluated under the default policy", async ({ open, ask }) => {
  const app = await open({ expected: /Content Security Policy|x\.png/ });
  await ask(app, "get_spend", WEEK);
  const outcome = await app.locator("html").evaluate(async () => {
    const fetched = await fetch("/").then(() => "fetched", () => "blocked");
    const image = await new Promise((resolve) => {
      const element = new Image();
      element.onload = () => resolve("loaded");
      element.onerror = () => resolve("blocked");
      element.src = "http://127.0.0.1:9/x.png";
    });
    return [fetched, image];
  });
  assert.deepEqual(outcome, ["blocked", "blocked"]);
});

// ---- Numbers, computed independently of the chart ----

const values = (answer, measure) => answer.series.flatMap((each) => each.values[measure]);

function dollars(amount) {
  const [whole, decimals = ""] = amount.replace("-", "").split(".");
  return `${amount.startsWith("-") ? "-" : ""}$${BigInt(whole).toLocaleString("en-US")}.${decimals.padEnd(2, "0")}`;
}

function exactSum(amounts) {
  const units = amounts.reduce((total, amount) => {
    const [whole, decimals = ""] = amount.split(".");
    return total + BigInt(whole + decimals.padEnd(30, "0"));
  }, 0n);
  return `${units / 10n ** 30n}.${String(units % 10n ** 30n).padStart(30, "0")}`.replace(/\.?0+$/, "");
}

/** An answer with one bucket and labels that no server would send. */
function made({ labels, cost }) {
  const series = labels.map((label) => ({ label, group: { model: label }, values: { cost }, totals: { cost: cost[0] } }));
  return {
    content: [],
    structuredContent: {
      report: "spend", summary: "Made up.", measures: { cost: "USD" },
      period: { start: "2026-10-01", end: "2026-10-01", timezone: "UTC" }, granularity: "day", group_by: [], filter_by: {},
      buckets: ["2026-10-01"], series, bucket_totals: { cost }, totals: { cost: cost[0] }, partial_buckets: [],
      provisional_since: null, fetched_at: "2026-11-22T14:30:00Z", cache: { status: "hit", upstream_requests: 0 },
      demo: true, notes: [],
    },
  };
}

// ---- Test bed ----

process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs22.x"; // makes the browser's package include its libraries
const { default: packaged } = await import("@sparticuz/chromium");
const { chromium } = await import("playwright-core");

async function connect(upstream) {
  const client = new Client(
    { name: "test-host", version: "1" },
    { capabilities: { extensions: { "io.modelcontextprotocol/ui": { mimeTypes: [MIME_TYPE] } } } },
  );
  const env = { ANTHROPIC_ADMIN_API_KEY: plan.key, USAGE_COST_MCP_BASE_URL: upstream };
  await client.connect(new StdioClientTransport({ command: plan.python, args: ["-m", "usage_cost_mcp", "serve"], env }));
  return client;
}

async function serve(pages) {
  const server = createServer((request, response) => {
    const { body, headers = {} } = pages[request.url] ?? { body: "" };
    response.writeHead(request.url in pages ? 200 : 404, { "content-type": "text/html; charset=utf-8", ...headers });
    response.end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

const servers = { demo: await connect(plan.upstream), hostile: await connect(plan.hostile) };
const { tools } = await servers.demo.listTools();
const resource = (await servers.demo.readResource({ uri: URI })).contents[0];
assert.equal(resource.mimeType, MIME_TYPE);
const bundle = await build({
  entryPoints: [new URL("host.js", import.meta.url).pathname], bundle: true, write: false, format: "iife", logLevel: "error",
});
const script = bundle.outputFiles[0].text.replaceAll("</script", "<\\/script");
const outer = await serve({
  "/": { body: `<!doctype html><link rel="icon" href="data:,">
    <style>body { margin: 8px } iframe { display: block; width: 100%; height: 40px; border: 0 }</style>
    <script>${script}</script><body>` },
});
const inner = await serve({ "/": { body: resource.text, headers: { "content-security-policy": DEFAULT_CSP } } });
const browser = await chromium.launch({ executablePath: await packaged.executablePath(), args: ["--no-sandbox"] });

/** The fixture of a case: its own pages; errors and unexpected requests on them fail the case. */
function stage(name) {
  const contexts = [], complaints = [], calls = [];
  let newest, pictures = 0;
  const picture = async () => {
    if (!plan.screenshots || newest.isClosed()) return;
    const file = `${name.replaceAll(/[^a-z0-9]+/gi, "-").slice(0, 70)}${pictures ? `-${pictures}` : ""}.png`;
    pictures += 1;
    await newest.screenshot({ path: `${plan.screenshots}/${file}`, fullPage: true });
  };

  async function open({
    width = 720, server = "demo", capabilities = { serverTools: {} }, context = { theme: "light" },
    permissions, // requested by the resource
    expected, // errors that belong to the case
    sandbox = "allow-scripts allow-same-origin",
  } = {}) {
    const browsing = await browser.newContext({ viewport: { width, height: 700 } });
    contexts.push(browsing);
    if (permissions) await browsing.grantPermissions(["clipboard-read", "clipboard-write"]);
    const page = newest = await browsing.newPage();
    page.setDefaultTimeout(10_000);
    const complain = (words) => { if (!expected?.test(words)) complaints.push(words); };
    page.on("pageerror", (error) => complain(`error: ${error}`));
    page.on("console", (message) => { if (message.type() === "error") complain(`console: ${message.text()}`); });
    page.on("request", (request) => {
      const url = request.url();
      if (![outer.origin, inner.origin, "data:", "about:"].some((start) => url.startsWith(start))) complain(`request: ${url}`);
    });
    const refusals = [];
    await page.exposeFunction("callTool", (params) => {
      calls.push(params);
      return refusals.length ? { isError: true, content: [{ type: "text", text: refusals.pop() }] } : servers[server].callTool(params);
    });
    await page.goto(outer.origin);
    const options = { url: inner.origin, capabilities, context, permissions, sandbox };
    await within(5, page.evaluate((given) => window.host.open(given), options));
    const frame = page.frames().find((each) => each.url().startsWith(inner.origin));
    return {
      server,
      page,
      close: () => page.close(),
      refuse: (words) => refusals.push(words),
      locator: (...args) => frame.locator(...args),
      role: (...args) => frame.getByRole(...args),
      text: (selector) => frame.locator(selector).evaluate((element) => element.textContent),
      texts: (selector) => frame.locator(selector).allTextContents(),
      count: (selector) => frame.locator(selector).count(),
      press: (key) => page.keyboard.press(key),
      background: () => frame.locator("body").evaluate((body) => getComputedStyle(body).backgroundColor),
      heights: (index) => frame.locator(`.bar[data-index="${index}"]`).evaluateAll((bars) =>
        bars.map((bar) => Number(bar.getAttribute("height")))),
      pasted: async () => {
        await browsing.grantPermissions(["clipboard-read", "clipboard-write"]);
        await page.bringToFront();
        return page.evaluate(() => { window.focus(); return navigator.clipboard.readText(); });
      },
      /** No element lies outside the page; its parts may scroll. */
      stays: async (when) => {
        const outside = await frame.locator("html").evaluate((root) => [
          ...(root.scrollWidth > window.innerWidth ? [`the page is ${root.scrollWidth} wide`] : []),
          ...[...document.querySelectorAll("main *:not(option, defs *, caption)")]
            .filter((element) => !element.closest("#table > *") && element.checkVisibility() && !element.classList.contains("unseen"))
            .map((element) => [element, element.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.right > window.innerWidth + .5 || box.left < -.5))
            .map(([element]) => `${element.tagName} ${element.id || element.className} ${element.textContent.slice(0, 30)}`),
        ]);
        await picture();
        assert.deepEqual(outside, [], when);
      },
      eventually: async (read, wanted) => {
        let last;
        for (const end = Date.now() + 5000; Date.now() < end;) {
          last = await read();
          if (last === wanted) return;
          await page.evaluate(() => new Promise(requestAnimationFrame));
        }
        assert.equal(last, wanted);
      },
    };
  }

  async function show(app, given, result, drawn = true) {
    await app.page.evaluate(([args, answer]) => { window.host.input(args); return window.host.result(answer); }, [given, result]);
    if (drawn) await app.locator("#summary", { hasText: result.structuredContent.summary }).waitFor();
  }

  async function ask(app, tool, given, drawn = true) {
    const result = await servers[app.server].callTool({ name: tool, arguments: given });
    assert.ok(!drawn || !result.isError, JSON.stringify(result.content));
    await show(app, given, result, drawn);
    return result.structuredContent;
  }

  const finish = async () => {
    if (newest) await picture();
    await Promise.all(contexts.map((each) => each.close()));
    assert.deepEqual(complaints, []);
  };
  return { given: { open, show, ask, calls, tools, page: () => newest }, finish };
}

/** A promise with a timeout, so that a page without an answer does not block the others. */
async function within(seconds, promise) {
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out after ${seconds} s`)), 1000 * seconds);
  });
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

async function outcome({ name, run }) {
  const { given, finish } = stage(name);
  const errors = [];
  for (const step of [() => run(given), finish]) {
    try {
      await within(20, step());
    } catch (error) {
      errors.push(error.stack ?? String(error));
    }
  }
  return { name, error: errors.join("\n") || null };
}

try {
  for (const each of cases) console.log(JSON.stringify(await outcome(each)));
} finally {
  await browser.close();
  await Promise.all(Object.values(servers).map((client) => client.close()));
  outer.server.close();
  inner.server.close();
}
