"""Stories with a known truth: organizations in which one thing happens, and what a good analyst says of it.

A new story is a new entry of `CAUSES` or `STATEMENTS`. `tests/test_truth.py` checks it, and
`python -m tests.update_docs` writes it to docs/truth.md with what the product says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.support.planted_orgs import (
    CACHE_READ,
    HAIKU,
    NOW,
    OPUS,
    OUTPUT,
    RESEARCH,
    SONNET,
    UNCACHED,
    WRITE_1H,
    WRITE_5M,
    Charge,
    PlantedOrg,
    Tokens,
    Workload,
)

M = 10**6
OPUS_5, OPUS_4_1, SONNET_4_5 = "claude-opus-5", "claude-opus-4-1", "claude-sonnet-4-5"

AGENT: Tokens = {UNCACHED: 2 * M, CACHE_READ: 90 * M, WRITE_5M: 6 * M, OUTPUT: 1_200_000}
"""The tokens of a day of an agent: most of its input is read from the cache."""
REGRESSED: Tokens = {UNCACHED: 42 * M, CACHE_READ: 50 * M, WRITE_5M: 6 * M, OUTPUT: 1_200_000}
"""The same input and output, read less from the cache."""
WITHOUT_CACHE: Tokens = {UNCACHED: 98 * M, OUTPUT: 1_200_000}
LONGER_LIVED: Tokens = {UNCACHED: 2 * M, CACHE_READ: 90 * M, WRITE_1H: 6 * M, OUTPUT: 1_200_000}
CHAT: Tokens = {UNCACHED: 30 * M, OUTPUT: 2 * M}

EARLIER, LATER = (date(2026, 8, 1), date(2026, 8, 31)), (date(2026, 10, 1), date(2026, 10, 31))
"""The periods of the stories of causes."""
DAYS = 31

Cost = Workload | Charge | None
"""What costs something in one of the periods."""


def scaled(tokens: Tokens, factor: float, **changed: float) -> Tokens:
    """Tokens times a factor; in `changed`, other factors: `reads`, `writes`, `uncached`, `output`."""
    names = {UNCACHED: "uncached", CACHE_READ: "reads", WRITE_5M: "writes", WRITE_1H: "writes", OUTPUT: "output"}
    return {name: round(count * changed.get(names[name], factor)) for name, count in tokens.items()}


@dataclass(frozen=True)
class Event:
    """Something that happened between the two periods.

    Attributes:
        effect: The effect that it is.
        says: The label that states it, and the label that states its mirror image, in which it happens backwards.
        before: What causes a cost in the earlier period.
        after: What causes it in the later one.
        dollars: The true change, and that of the mirror image; by default the difference of the costs.
    """

    effect: str
    says: tuple[str, str]
    before: Cost
    after: Cost
    dollars: tuple[Decimal, Decimal] | None = None

    @property
    def change(self) -> Decimal:
        return self.dollars[0] if self.dollars else cost_of(self.after) - cost_of(self.before)

    @property
    def mirrored(self) -> "Event":
        (label, mirrored), dollars = self.says, self.dollars
        return Event(self.effect, (mirrored, label), self.after, self.before, dollars and (dollars[1], dollars[0]))


def cost_of(cost: Cost) -> Decimal:
    """Dollars in one of the periods."""
    match cost:
        case None:
            return Decimal(0)
        case Charge():
            return cost.dollars
        case Workload():
            return DAYS * (sum(cost.cost(LATER[0]).values(), Decimal(0)) + cost.searches * Decimal("0.01"))


@dataclass(frozen=True)
class CauseStory:
    """Events, the largest first, among uses that stay as they are.

    Attributes:
        name: What happens.
        mirror: What happens in the mirror image.
        steady: What is the same in both periods.
    """

    name: str
    mirror: str
    events: Sequence[Event]
    steady: Sequence[Workload] = ()

    @property
    def mirrored(self) -> "CauseStory":
        return CauseStory(self.mirror, self.name, [event.mirrored for event in self.events], self.steady)

    @property
    def organization(self) -> PlantedOrg:
        placed = [_placed(event.before, EARLIER) for event in self.events]
        placed += [_placed(event.after, LATER) for event in self.events]
        workloads = [each for each in placed if isinstance(each, Workload)]
        return PlantedOrg([*workloads, *self.steady], [each for each in placed if isinstance(each, Charge)])


def _placed(cost: Cost, days: tuple[date, date]) -> Cost:
    match cost:
        case None:
            return None
        case Charge():
            return replace(cost, day=days[0] + timedelta(days=9))
        case Workload():
            return replace(cost, start=days[0], end=days[1])


def volume(where: str, before: Cost, after: Cost, *, tokens: str = "", few: str = "fewer") -> Event:
    """More or less use of a model; or of one kind of its tokens, in the words of a label."""
    if tokens:
        return Event("volume", (f"more {tokens} in {where}", f"{few} {tokens} in {where}"), before, after)
    return Event("volume", (f"more use of {where}", f"less use of {where}"), before, after)


def shift(effect: str, first: str, second: str, where: str, before: Cost, after: Cost) -> Event:
    """Tokens that moved from one thing to another."""
    labels = f"shift from {first} to {second} {where}", f"shift from {second} to {first} {where}"
    return Event(effect, labels, before, after)


def hit_rate(where: str, before: Cost, after: Cost, dollars: tuple[Decimal, Decimal] | None = None) -> Event:
    """A cache that is used less."""
    labels = f"lower cache hit rate of {where}", f"higher cache hit rate of {where}"
    return Event("cache_mix", labels, before, after, dollars)


IN_PRODUCTION, OPUS_IN_PRODUCTION = "in Production", f"{OPUS} in Production"
STEADY = (Workload(CHAT, RESEARCH, SONNET), Workload(scaled(CHAT, 0.3), RESEARCH, HAIKU, tier="batch"))
PRIORITY = f"move of {OPUS_IN_PRODUCTION} {{}} the Priority Tier, whose cost Anthropic does not report"
CREDIT = Charge(LATER[0], Decimal(-450))


def agent(tokens: Tokens = AGENT, **dimensions: Any) -> Workload:
    return Workload(tokens, **dimensions)


def _twice(label: str) -> tuple[str, str]:
    return label, label


def _a_fifth_off(_day: date) -> Decimal:
    return Decimal("0.8")


_AGENT_COST, _REGRESSED_COST = cost_of(agent()), cost_of(agent(REGRESSED))
_GROWTH = Decimal("0.3")

CAUSES: Sequence[CauseStory] = (
    CauseStory(
        "Only cache reads double",
        "Only cache reads halve",
        [volume(f"Production / {OPUS}", agent(), agent(scaled(AGENT, 1, reads=2)), tokens="cache reads")],
        STEADY,
    ),
    CauseStory(
        "Answers become 60% longer, the input stays",
        "Answers become shorter, the input stays",
        [volume(f"Production / {OPUS}", agent(), agent(scaled(AGENT, 1, output=1.6)), tokens="output", few="less")],
        STEADY,
    ),
    CauseStory(
        "An agent is used 30% more",
        "An agent is used less",
        [volume(OPUS_IN_PRODUCTION, agent(), agent(scaled(AGENT, 1.3)))],
        STEADY,
    ),
    CauseStory(
        "An agent is used more, by its token types 24% to 34%",
        "An agent is used less, by its token types unequally",
        [
            volume(
                OPUS_IN_PRODUCTION,
                agent(),
                agent(scaled(AGENT, 1.3, uncached=1.24, reads=1.28, output=1.34)),
            )
        ],
        STEADY,
    ),
    CauseStory(
        "A prompt change breaks caching at the same input",
        "Caching is repaired",
        [hit_rate(OPUS_IN_PRODUCTION, agent(), agent(REGRESSED))],
        STEADY,
    ),
    CauseStory(
        "Caching breaks while use grows by 30%",
        "Caching is repaired while use falls back",
        [
            hit_rate(
                OPUS_IN_PRODUCTION,
                agent(),
                agent(scaled(REGRESSED, 1.3)),
                ((1 + _GROWTH) * (_REGRESSED_COST - _AGENT_COST), _AGENT_COST - _REGRESSED_COST),
            ),
            Event(
                "volume",
                (f"more use of {OPUS_IN_PRODUCTION}", f"less use of {OPUS_IN_PRODUCTION}"),
                None,
                None,
                (_GROWTH * _AGENT_COST, -_GROWTH * _REGRESSED_COST),
            ),
        ],
        STEADY,
    ),
    CauseStory(
        "Caching is switched off",
        "Caching is switched on",
        [hit_rate(OPUS_IN_PRODUCTION, agent(), agent(WITHOUT_CACHE))],
        STEADY,
    ),
    CauseStory(
        "Cache writes live one hour instead of five minutes",
        "Cache writes live five minutes instead of one hour",
        [
            shift(
                "cache_mix",
                "5-minute cache writes",
                "1-hour cache writes",
                f"of {OPUS_IN_PRODUCTION}",
                agent(),
                agent(LONGER_LIVED),
            )
        ],
        STEADY,
    ),
    CauseStory(
        "Most tokens move to the Priority Tier",
        "Most tokens move back from the Priority Tier",
        [
            Event("tier_mix", (PRIORITY.format("to"), PRIORITY.format("from")), agent(), agent(tier="priority")),
        ],
        [*STEADY, agent(scaled(AGENT, 0.2))],
    ),
    CauseStory(
        "Half of an agent's work moves to batch",
        "Half of an agent's work moves out of batch",
        [shift("tier_mix", "standard", "batch", f"of {OPUS_IN_PRODUCTION}", agent(), agent(tier="batch"))],
        [*STEADY, agent()],
    ),
    CauseStory(
        "An agent runs in fast mode",
        "An agent no longer runs in fast mode",
        [shift("tier_mix", "standard speed", "fast speed", f"of {OPUS_IN_PRODUCTION}", agent(), agent(speed="fast"))],
        STEADY,
    ),
    CauseStory(
        "Prompts grow beyond 200k tokens",
        "Prompts shrink below 200k tokens",
        [
            shift(
                "tier_mix",
                "0-200k context",
                "200k-1M context",
                f"of {OPUS_IN_PRODUCTION}",
                agent(),
                agent(context="200k-1M"),
            )
        ],
        STEADY,
    ),
    CauseStory(
        "Inference is kept in the US",
        "Inference is no longer kept in the US",
        [shift("tier_mix", "global geo", "us geo", f"of {OPUS_IN_PRODUCTION}", agent(), agent(geo="us"))],
        STEADY,
    ),
    CauseStory(
        "One of two agents moves from Opus to Sonnet",
        "One of two agents moves from Sonnet to Opus",
        [shift("model_mix", OPUS, SONNET, IN_PRODUCTION, agent(), agent(model=SONNET))],
        [*STEADY, agent(scaled(AGENT, 0.7)), Workload(CHAT, model=SONNET)],
    ),
    CauseStory(
        "Two agents swap models: Opus to Sonnet, and the old Sonnet to the new Opus",
        "Two agents swap models back",
        [
            shift("model_mix", OPUS, SONNET, IN_PRODUCTION, agent(), agent(model=SONNET)),
            shift(
                "model_mix",
                SONNET_4_5,
                OPUS_5,
                IN_PRODUCTION,
                Workload(scaled(CHAT, 0.3), model=SONNET_4_5, geo="not_available"),
                Workload(scaled(CHAT, 0.3), model=OPUS_5),
            ),
        ],
        STEADY,
    ),
    CauseStory(
        "Opus 4.1 is replaced by Opus 4.6, in a workspace where Sonnet grows as much",
        "Opus 4.6 is replaced by Opus 4.1, where Sonnet falls",
        [
            shift(
                "model_mix",
                OPUS_4_1,
                OPUS,
                IN_PRODUCTION,
                agent(model=OPUS_4_1, geo="not_available"),
                agent(model=OPUS),
            ),
            volume(f"{SONNET} in Production", agent(model=SONNET), agent(scaled(AGENT, 2), model=SONNET)),
        ],
        STEADY,
    ),
    CauseStory(
        "An agent moves to Sonnet and half of its work to Haiku",
        "An agent moves from Sonnet and Haiku to Opus",
        [
            shift(
                "model_mix",
                OPUS,
                HAIKU,
                IN_PRODUCTION,
                agent(scaled(AGENT, 0.5)),
                agent(scaled(AGENT, 0.5), model=HAIKU),
            ),
            shift(
                "model_mix",
                OPUS,
                SONNET,
                IN_PRODUCTION,
                agent(scaled(AGENT, 0.5)),
                agent(scaled(AGENT, 0.5), model=SONNET),
            ),
        ],
        STEADY,
    ),
    CauseStory(
        "The price of Sonnet falls by 20%",
        "The price of Sonnet rises",
        [
            Event(
                "price",
                (f"lower price of {SONNET}", f"higher price of {SONNET}"),
                agent(model=SONNET),
                agent(model=SONNET, discount=_a_fifth_off),
            )
        ],
        [STEADY[1], agent()],
    ),
    CauseStory(
        "A new agent starts",
        "An agent is switched off",
        [volume(f"{HAIKU} in Research", None, agent(workspace=RESEARCH, model=HAIKU))],
        [*STEADY, agent()],
    ),
    CauseStory(
        "One workspace grows, another shrinks, both with Opus",
        "One workspace shrinks, another grows",
        [
            volume(OPUS_IN_PRODUCTION, agent(), agent(scaled(AGENT, 1.5))),
            Event(
                "volume",
                (f"less use of {OPUS} in Research", f"more use of {OPUS} in Research"),
                Workload(CHAT, RESEARCH),
                Workload(scaled(CHAT, 0.8), RESEARCH),
            ),
        ],
        STEADY,
    ),
    CauseStory(
        "Answers become much shorter while a little more is read from the cache: more tokens, fewer dollars",
        "Answers become longer while a little less is read from the cache",
        [
            Event(
                "volume",
                (f"less output in Production / {OPUS}", f"more output in Production / {OPUS}"),
                agent(),
                agent(scaled(AGENT, 1, output=0.4)),
            ),
            Event(
                "volume",
                (f"more cache reads in Production / {OPUS}", f"fewer cache reads in Production / {OPUS}"),
                Workload({CACHE_READ: 10 * M}),
                Workload({CACHE_READ: 20 * M}),
            ),
        ],
        STEADY,
    ),
    CauseStory(
        "A credit of $450 in the later month",
        "A credit of $450 in the earlier month",
        [
            Event(
                "credits",
                ("Service Credit in Default workspace", "no more Service Credit in Default workspace"),
                None,
                CREDIT,
            )
        ],
        [*STEADY, agent()],
    ),
    CauseStory(
        "Web searches triple",
        "Web searches fall to a third",
        [
            Event(
                "no_tokens",
                ("more Web Search Usage in Production", "less Web Search Usage in Production"),
                agent(searches=3000),
                agent(searches=9000),
            )
        ],
        STEADY,
    ),
    CauseStory(
        "A model is billed whose usage is not reported",
        "The usage of a billed model is no longer missing from the report",
        [
            Event(
                "unmatched",
                _twice(f"cost of {SONNET} in Production without usage in the report"),
                None,
                agent(model=SONNET, in_usage=False),
            )
        ],
        [*STEADY, agent()],
    ),
    CauseStory(
        "The cost of a model that is used as before is no longer reported",
        "The cost of a model that is used as before is reported again",
        [
            Event(
                "unmatched",
                _twice(f"usage of {SONNET} in Production without cost in the report"),
                agent(model=SONNET),
                agent(model=SONNET, in_costs=False),
            )
        ],
        [*STEADY, agent()],
    ),
)


@dataclass(frozen=True)
class Statement:
    """What one call must state, of an organization in which little or nothing happens.

    Attributes:
        name: The situation.
        analyst: What a good analyst says.
        says: What the summary, or the error, must contain.
        fields: What the answer must contain; null if the call is refused.
        forbidden: What the summary must not contain.
    """

    name: str
    analyst: str
    organization: PlantedOrg
    arguments: Mapping[str, Any]
    says: Sequence[str]
    fields: Mapping[str, Any] | None = field(default_factory=dict[str, Any])
    forbidden: Sequence[str] = ()
    tool: str = "compare_spend"


def same_every_day(now: datetime = NOW, **more: Any) -> PlantedOrg:
    """$100 a day, every day."""
    return PlantedOrg([Workload({UNCACHED: 20 * M})], now=now, **more)


def at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 14, 30, tzinfo=UTC)


STATEMENTS: Sequence[Statement] = (
    Statement(
        "Nothing changes, October is a day longer than September",
        "$100 more, all of it for the additional day; the same per day",
        same_every_day(),
        {"period": "2026-10", "against": "2026-09"},
        ["$100.00 (3.3%) more", "per day the same", "31 instead of 30 days +$100.00."],
        {"change": "100", "change_ratio": 0.0333, "change_per_day": "0"},
    ),
    Statement(
        "Nothing changes, last month against the current one",
        "10 days more, the same per day; today is not counted",
        same_every_day(),
        {"period": "last_month", "against": "this_month"},
        ["2026-11-01 to 2026-11-21", "per day the same", "31 instead of 21 days +$1,000.00."],
        {"change": "1000", "change_per_day": "0"},
    ),
    Statement(
        "Nothing changes, this week on a Friday",
        "Monday to Thursday, the same as in the week before",
        same_every_day(at(2026, 11, 20)),
        {"period": "this_week"},
        ["2026-11-16 to 2026-11-19", "the same as for 2026-11-09 to 2026-11-12"],
        {"change": "0", "drivers": []},
        ["per day"],
    ),
    Statement(
        "Work only on weekdays, this week on a Friday",
        "the same as on the same weekdays",
        PlantedOrg([Workload(lambda day: {UNCACHED: 20 * M} if day.weekday() < 5 else {})], now=at(2026, 11, 20)),
        {"period": "this_week"},
        ["the same as for 2026-11-09 to 2026-11-12"],
        {"change": "0", "change_ratio": 0.0},
    ),
    Statement(
        "Nothing changes, this month on March 31",
        "30 days against the 28 of February: two days more",
        same_every_day(at(2026, 3, 31)),
        {"period": "this_month"},
        ["2026-03-01 to 2026-03-30", "2026-02-01 to 2026-02-28", "30 instead of 28 days +$200.00."],
        {"change": "200", "change_per_day": "0"},
    ),
    Statement(
        "This month, on the 1st",
        "there is nothing to compare yet",
        same_every_day(at(2026, 11, 1)),
        {"period": "this_month"},
        ["2026-11-01 (today, UTC) is not over"],
        None,
    ),
    Statement(
        "Today",
        "today is not over",
        same_every_day(),
        {"period": "today"},
        ["2026-11-22 (today, UTC) is not over"],
        None,
    ),
    Statement(
        "Yesterday, whose bill has not arrived",
        "its cost is not known yet",
        same_every_day(billing_lag=timedelta(days=1.5)),
        {"period": "yesterday"},
        ["The bill for 2026-11-21 covers 10%", "ask again later"],
        None,
    ),
    Statement(
        "Nothing changes, the last 7 days, with a bill that is 1.5 days late",
        "the billed days, the same as a week before",
        same_every_day(billing_lag=timedelta(days=1.5)),
        {"period": "last_7_days"},
        ["2026-11-15 to 2026-11-20", "the same as for 2026-11-08 to 2026-11-13"],
        {"change": "0", "drivers": []},
        ["less"],
    ),
    Statement(
        "The organization began on September 26",
        "September is no basis for a comparison",
        PlantedOrg([Workload({UNCACHED: 20 * M}, start=date(2026, 9, 26))]),
        {"period": "2026-10", "against": "2026-09"},
        ["There is no cost before 2026-09-26, so 2026-09-01 to 2026-09-30"],
        {"change_ratio": None, "drivers": [], "change": "2600"},
        ["more", "%", "drivers"],
    ),
    Statement(
        "The organization began on September 26, asked the other way round",
        "September is no basis for a comparison",
        PlantedOrg([Workload({UNCACHED: 20 * M}, start=date(2026, 9, 26))]),
        {"period": "2026-09", "against": "2026-10"},
        ["There is no cost before 2026-09-26, so 2026-09-01 to 2026-09-30"],
        {"change_ratio": None, "drivers": [], "change": "-2600"},
        ["less", "%", "drivers"],
    ),
    Statement(
        "A workspace began on September 26, in an older organization",
        "its September is no basis for a ratio, the additional use is a cause",
        PlantedOrg([Workload({UNCACHED: 20 * M}), Workload({UNCACHED: 20 * M}, RESEARCH, start=date(2026, 9, 26))]),
        {"period": "2026-10", "against": "2026-09", "filter_by": {"workspace_id": ["Research"]}},
        ["There is no cost before 2026-09-26, workspace_id Research"],
        {"change_ratio": None, "change": "2600"},
        ["%"],
    ),
    Statement(
        "The organization began after the earlier period",
        "there is nothing to compare with",
        PlantedOrg([Workload({UNCACHED: 20 * M}, start=date(2026, 10, 1))]),
        {"period": "2026-10", "against": "2026-09"},
        ["There is no cost at all for 2026-09-01 to 2026-09-30"],
        {"change_ratio": None, "drivers": []},
        ["more", "%"],
    ),
    Statement(
        "Credits exceed the cost of the earlier month",
        "a change in dollars; a ratio makes no sense",
        same_every_day(charges=[Charge(date(2026, 9, 3), Decimal(-4000))]),
        {"period": "2026-10", "against": "2026-09"},
        ["$4,100.00 more than", "no more Service Credit in Default workspace +$4,000.00"],
        {"change_ratio": None},
        ["%) more than"],
    ),
    Statement(
        "Spend rises by a cent in ten thousand dollars",
        "practically the same, and not 0.0% more",
        PlantedOrg([Workload({UNCACHED: 2000 * M})], [Charge(date(2026, 10, 3), Decimal("0.01"), "Correction")]),
        {"period": "2026-10", "against": "2026-08"},
        ["$0.01 (<0.1%) more"],
        {"change": "0.01"},
        ["0.0%"],
    ),
)


CAUSES_AND_MIRROR_IMAGES = [each for story in CAUSES for each in (story, story.mirrored)]
