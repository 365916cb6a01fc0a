"""A company of several teams, in which something happens, and what a good analyst says of it.

Unlike in `truth_stories`, use follows the week and varies from day to day, and changes begin on any day.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from tests.support.planted_orgs import (
    CACHE_READ,
    HAIKU,
    NOW,
    OPUS,
    OUTPUT,
    PRODUCTION,
    RESEARCH,
    SONNET,
    UNCACHED,
    WRITE_1H,
    WRITE_5M,
    Charge,
    PlantedOrg,
    Tokens,
    Workload,
    days,
)

M = 10**6
OPUS_4_1, SONNET_4_5 = "claude-opus-4-1", "claude-sonnet-4-5"
ENGINEERING, DATA, SUPPORT, MOBILE = "wrkspc_engineering", "wrkspc_data", "wrkspc_support", "wrkspc_mobile"
WORKSPACES = {
    PRODUCTION: "Production",
    RESEARCH: "Research",
    ENGINEERING: "Engineering",
    DATA: "Data",
    SUPPORT: "Support",
    MOBILE: "Mobile",
}
Use = Callable[[date], Tokens]
"""Tokens of a day."""


def use(name: str, tokens: Tokens, *, weekend: float = 1, noise: float = 0.06) -> Use:
    """Tokens that are fewer on weekends, and vary from day to day: mostly together, a little each for itself."""

    @cache
    def on(day: date) -> Tokens:
        chance = random.Random(f"{name} {day}")  # noqa: S311
        amount = chance.lognormvariate(0, noise) * (weekend if day.weekday() >= 5 else 1)
        return {each: round(count * amount * chance.lognormvariate(0, noise / 4)) for each, count in tokens.items()}

    return on


def times(factor: float, base: Use, **factors: float) -> Use:
    """The same use, times a factor, or by token type times another."""

    @cache
    def on(day: date) -> Tokens:
        return {name: round(count * factors.get(name, factor)) for name, count in base(day).items()}

    return on


def moved(base: Use, first: str, second: str, share: float = 1) -> Use:
    """The same use, with a share of one token type as another one."""

    @cache
    def on(day: date) -> Tokens:
        tokens = dict(base(day))
        count = round(tokens[first] * share)
        return {**tokens, first: tokens[first] - count, second: tokens.get(second, 0) + count}

    return on


def only(token_type: str, base: Use) -> Use:
    """One token type of a use."""
    return lambda day: {token_type: base(day)[token_type]}


CHAT_TOKENS = {UNCACHED: 8 * M, CACHE_READ: 120 * M, WRITE_5M: 10 * M, OUTPUT: 3 * M}
CHAT = use("chat", CHAT_TOKENS, weekend=0.8)
CODING_TOKENS = {UNCACHED: 3 * M, CACHE_READ: 150 * M, WRITE_5M: 9 * M, OUTPUT: 2 * M}
CODING = use("coding", CODING_TOKENS, weekend=0.25)

chat = Workload(CHAT, PRODUCTION, SONNET, "apikey_chat")
classifier = Workload(use("classifier", {UNCACHED: 40 * M, OUTPUT: 2 * M}), PRODUCTION, HAIKU, "apikey_classifier")
coding = Workload(CODING, ENGINEERING, OPUS, "apikey_coding")
review = Workload(use("review", {UNCACHED: 20 * M, OUTPUT: M}, weekend=0.2), ENGINEERING, SONNET, "apikey_review")
enrichment = Workload(
    use("enrichment", {UNCACHED: 120 * M, OUTPUT: 6 * M}, noise=0.03), DATA, HAIKU, "apikey_enrichment", tier="batch"
)
evaluation = Workload(
    use("evaluation", {UNCACHED: 25 * M, OUTPUT: 2 * M}, weekend=0.4),
    RESEARCH,
    SONNET_4_5,
    "apikey_evaluation",
    geo="not_available",
)
assistant = Workload(
    use("assistant", {UNCACHED: 4 * M, CACHE_READ: 30 * M, WRITE_5M: 2 * M, OUTPUT: 500_000}, weekend=0.5, noise=0.1),
    RESEARCH,
    OPUS,
    None,
    account="user_analyst",
)
COMPANY = (chat, classifier, coding, review, enrichment, evaluation, assistant)
KEYS = {each.api_key: each.workspace for each in COMPANY if each.api_key}

Span = tuple[date, date]
JANUARY, FEBRUARY = (date(2026, 1, 1), date(2026, 1, 31)), (date(2026, 2, 1), date(2026, 2, 28))
SEPTEMBER, OCTOBER = (date(2026, 9, 1), date(2026, 9, 30)), (date(2026, 10, 1), date(2026, 10, 31))
WEEK_BEFORE, WEEK = (date(2026, 11, 8), date(2026, 11, 14)), (date(2026, 11, 15), date(2026, 11, 21))
FIRST_OF_OCTOBER, MID_OCTOBER = date(2026, 10, 1), date(2026, 10, 16)


def dollars(workloads: Sequence[Workload], span: Span, since: date | None = None) -> Decimal:
    """The true cost of tokens and searches."""
    first, last = max(span[0], since or span[0]), span[1]
    return sum(
        (
            sum(each.cost(day).values(), Decimal(0)) + Decimal(each.searches if each.on(day) else 0) / 100
            for each in workloads
            for day in days(first, last)
        ),
        Decimal(0),
    )


@dataclass(frozen=True)
class Change:
    """What happened on a day, and how an analyst names it.

    Attributes:
        effect: The effect that it is.
        label: What the answer says.
        before: The use that ends.
        after: The use that begins.
        since: The first day of what begins.
        charge: A charge that it is instead.
        change: The true dollars, where they are not the default: of more or less use the difference between the
            periods; of anything else the difference to the later period without it.
    """

    effect: str
    label: str
    before: Sequence[Workload] = ()
    after: Sequence[Workload] = ()
    since: date = FIRST_OF_OCTOBER
    charge: Charge | None = None
    change: Decimal | None = None

    @property
    def workloads(self) -> list[Workload]:
        ended = [replace(each, end=self.since - timedelta(days=1)) for each in self.before]
        return [*ended, *(replace(each, start=self.since) for each in self.after)]

    def drift(self, story: "CompanyStory") -> Decimal:
        """How much the use that ends would have changed otherwise."""
        return story.difference(self.before)

    def true_change(self, story: "CompanyStory") -> Decimal:
        if self.change is not None:
            return self.change
        if self.charge:
            return self.charge.dollars * (1 if story.later[0] <= self.charge.day <= story.later[1] else -1)
        difference = story.difference(self.workloads)
        return difference if self.effect in {"volume", "no_tokens"} else difference - self.drift(story)


class Cause(NamedTuple):
    """What an analyst says of a change, and its true dollars."""

    effect: str
    label: str
    change: Decimal


@dataclass(frozen=True)
class CompanyStory:
    """Changes in the company, the largest first.

    Attributes:
        name: What happens.
        company: Uses that stay as they are.
        arguments: How the comparison is asked for.
        days_first: Whether the largest cause is that the periods differ in length.
    """

    name: str
    changes: Sequence[Change]
    company: Sequence[Workload]
    earlier: Span = SEPTEMBER
    later: Span = OCTOBER
    arguments: Mapping[str, Any] = field(default_factory=lambda: {"period": "2026-10"})
    now: datetime = NOW
    billing_lag: timedelta = timedelta()
    days_first: bool = False

    @property
    def organization(self) -> PlantedOrg:
        changed = [each for change in self.changes for each in change.workloads]
        return PlantedOrg(
            [*self.company, *changed],
            [change.charge for change in self.changes if change.charge],
            self.now,
            self.billing_lag,
            keys=KEYS,
            workspaces=WORKSPACES,
        )

    def difference(self, workloads: Sequence[Workload]) -> Decimal:
        """The later cost minus that of an earlier period of the same length."""
        first, second = length(self.earlier), length(self.later)
        return dollars(workloads, self.later) - dollars(workloads, self.earlier) * second / first

    @property
    def days_effect(self) -> Decimal:
        first, second = length(self.earlier), length(self.later)
        return dollars(self.organization.workloads, self.earlier) * (second - first) / first

    @property
    def causes(self) -> list[Cause]:
        """What happened, the largest first."""
        planted = [Cause(each.effect, each.label, each.true_change(self)) for each in self.changes]
        lengths = Cause("days", f"{length(self.later)} instead of {length(self.earlier)} days", self.days_effect)
        return [lengths, *planted] if self.days_first else planted

    @property
    def absolute(self) -> Decimal:
        """The absolute sum of all that changed, with the noise of what stayed as it was."""
        changes = sum(abs(each.true_change(self)) for each in self.changes)
        drifts = sum(abs(each.drift(self)) for each in self.changes if each.effect not in {"volume", "no_tokens"})
        steady = sum(abs(self.difference([each])) for each in self.company)
        return Decimal(changes + drifts + steady + abs(self.days_effect))


def length(span: Span) -> int:
    return (span[1] - span[0]).days + 1


def without(*workloads: Workload) -> list[Workload]:
    """The company without some of its uses."""
    return [each for each in COMPANY if each not in workloads]


def volume(where: str, before: Sequence[Workload], after: Sequence[Workload], since: date, words: str = "") -> Change:
    return Change("volume", f"{words or 'more use of'} {where}", before, after, since)


_hourly = replace(chat, tokens=moved(CHAT, WRITE_5M, WRITE_1H))
_grown_hourly = replace(chat, tokens=moved(times(1.15, CHAT), WRITE_5M, WRITE_1H))
_grown = replace(chat, tokens=times(1.15, CHAT))
_old_coding = replace(coding, model=OPUS_4_1, geo="not_available")
_new_coding = replace(coding, tokens=times(1.5, CODING))
_old_chat = replace(chat, model=SONNET_4_5, geo="not_available")
_longer_chat = replace(chat, tokens=times(1, CHAT, **{OUTPUT: 1.8}))
_agent = Workload(
    use("agent", {UNCACHED: 10 * M, OUTPUT: M}, weekend=0.4), RESEARCH, OPUS, "apikey_evaluation", searches=4000
)


def _agent_growth(token_type: str) -> Decimal:
    """A tenth more tokens of one type, beside the noise."""
    before, after = (
        replace(_agent, tokens=only(token_type, times(factor, _agent.on)), searches=0) for factor in (1, 1.1)
    )
    return dollars([after], OCTOBER) - dollars([before], SEPTEMBER) * 31 / 30


def _a_fifth_off(_day: date) -> Decimal:
    return Decimal("0.8")


def _month_by_month(day: date) -> Tokens:
    """Coding that grows by 6% a month."""
    growth = 1.06 ** ((day - date(2026, 4, 1)).days / 30.4)
    return {name: round(count * growth) for name, count in CODING(day).items()}


STORIES: Sequence[CompanyStory] = (
    CompanyStory(
        "Coding agents grow by 45%, enrichment shrinks, answers of the chat become shorter",
        [
            volume(f"{OPUS} in Engineering", [coding], [replace(coding, tokens=times(1.45, CODING))], FIRST_OF_OCTOBER),
            volume(
                f"{HAIKU} in Data",
                [enrichment],
                [replace(enrichment, tokens=times(0.7, enrichment.on))],
                FIRST_OF_OCTOBER,
                "less use of",
            ),
            volume(
                f"Production / {SONNET}",
                [chat],
                [replace(chat, tokens=times(1, CHAT, **{OUTPUT: 0.7}))],
                FIRST_OF_OCTOBER,
                "less output in",
            ),
        ],
        without(coding, chat, enrichment),
    ),
    CompanyStory(
        "The price of Opus falls by 20% on October 9 while the chat on Sonnet grows by a tenth",
        [
            Change(
                "price",
                f"lower price of {OPUS}",
                [coding, assistant],
                [replace(each, discount=_a_fifth_off) for each in (coding, assistant)],
                date(2026, 10, 9),
            ),
            volume(f"{SONNET} in Production", [chat], [replace(chat, tokens=times(1.1, CHAT))], FIRST_OF_OCTOBER),
        ],
        without(coding, assistant, chat),
    ),
    CompanyStory(
        "Half of coding moves from Opus 4.1 to Opus 4.6 on October 12; the migration is not finished",
        [
            Change(
                "model_mix",
                f"shift from {OPUS_4_1} to {OPUS} in Engineering",
                [_old_coding],
                [
                    replace(_old_coding, tokens=times(0.5, CODING)),
                    replace(coding, tokens=times(0.5, CODING)),
                ],
                date(2026, 10, 12),
            )
        ],
        without(coding),
    ),
    CompanyStory(
        "The chat keeps its cache for an hour, and grows by 15%",
        [
            Change(
                "cache_mix",
                f"shift from 5-minute cache writes to 1-hour cache writes of {SONNET} in Production",
                [chat],
                [_grown_hourly],
                FIRST_OF_OCTOBER,
                change=dollars([_grown_hourly], OCTOBER) - dollars([_grown], OCTOBER),
            ),
            Change(
                "volume",
                f"more use of {SONNET} in Production",
                change=dollars([_grown], OCTOBER) - dollars([chat], SEPTEMBER) * 31 / 30,
            ),
        ],
        without(chat),
    ),
    CompanyStory(
        "From October 8 on 80% of the evaluations run in batches, while coding grows by 8%",
        [
            Change(
                "tier_mix",
                f"shift from standard to batch of {SONNET_4_5} in Research",
                [evaluation],
                [
                    replace(evaluation, tokens=times(0.2, evaluation.on)),
                    replace(evaluation, tokens=times(0.8, evaluation.on), tier="batch"),
                ],
                date(2026, 10, 8),
            ),
            volume(f"{OPUS} in Engineering", [coding], [replace(coding, tokens=times(1.08, CODING))], FIRST_OF_OCTOBER),
        ],
        without(evaluation, coding),
    ),
    CompanyStory(
        "Production moves to US inference within the last week",
        [
            Change(
                "tier_mix",
                f"shift from global geo to us geo of {SONNET} in Production",
                [chat],
                [replace(chat, geo="us")],
                date(2026, 11, 14),
            ),
            Change(
                "tier_mix",
                f"shift from global geo to us geo of {HAIKU} in Production",
                [classifier],
                [replace(classifier, geo="us")],
                date(2026, 11, 14),
            ),
        ],
        without(chat, classifier),
        WEEK_BEFORE,
        WEEK,
        {"period": "last_7_days"},
    ),
    CompanyStory(
        "Half of the evaluations has prompts of more than 200k tokens from October 9 on",
        [
            Change(
                "tier_mix",
                f"shift from 0-200k context to 200k-1M context of {SONNET_4_5} in Research",
                [evaluation],
                [
                    replace(evaluation, tokens=times(0.5, evaluation.on)),
                    replace(evaluation, tokens=times(0.5, evaluation.on), context="200k-1M"),
                ],
                date(2026, 10, 9),
            )
        ],
        without(evaluation),
    ),
    CompanyStory(
        "Support gets a workspace of its own, and its chat is used 30% more there",
        [
            volume(
                f"{SONNET} in Support",
                [],
                [replace(chat, workspace=SUPPORT, tokens=times(1.3, CHAT))],
                date(2026, 10, 6),
            ),
            volume(f"{SONNET} in Production", [chat], [], date(2026, 10, 6), "less use of"),
        ],
        without(chat),
    ),
    CompanyStory(
        "The key of the coding agents is deleted on October 20",
        [volume(f"{OPUS} in Engineering", [coding], [], date(2026, 10, 20), "less use of")],
        without(coding),
    ),
    CompanyStory(
        "Engineering turns on fast mode on October 15, Research uses the same model as before",
        [
            Change(
                "tier_mix",
                f"shift from standard speed to fast speed of {OPUS} in Engineering",
                [coding],
                [replace(coding, speed="fast")],
                date(2026, 10, 15),
            )
        ],
        without(coding),
    ),
    CompanyStory(
        "A Priority Tier commitment begins in mid October: 70% of the chat moves there, and coding grows by a tenth",
        [
            Change(
                "tier_mix",
                f"move of {SONNET} in Production to the Priority Tier, whose cost Anthropic does not report",
                [chat],
                [
                    replace(chat, tokens=times(0.3, CHAT)),
                    replace(chat, tokens=times(0.7, CHAT), tier="priority"),
                ],
                MID_OCTOBER,
            ),
            volume(f"{OPUS} in Engineering", [coding], [replace(coding, tokens=times(1.1, CODING))], FIRST_OF_OCTOBER),
        ],
        without(chat, coding),
    ),
    CompanyStory(
        "September had a credit of $900, and the classifier grows by a quarter in October",
        [
            Change(
                "credits",
                "no more Service Credit in Default workspace",
                charge=Charge(date(2026, 9, 11), Decimal(-900)),
            ),
            volume(
                f"{HAIKU} in Production",
                [classifier],
                [replace(classifier, tokens=times(1.25, classifier.on))],
                FIRST_OF_OCTOBER,
            ),
        ],
        without(classifier),
    ),
    CompanyStory(
        "A research agent searches the web three times as often at little more tokens",
        [
            Change(
                "no_tokens",
                "more Web Search Usage in Research",
                [_agent],
                [replace(_agent, tokens=times(1.1, _agent.on), searches=12000)],
                FIRST_OF_OCTOBER,
                change=Decimal((12000 - 4000) * 31) / 100,
            ),
            *(
                Change("volume", f"more {words} in Research / {OPUS}", change=_agent_growth(token_type))
                for token_type, words in ((UNCACHED, "uncached input"), (OUTPUT, "output"))
            ),
        ],
        COMPANY,
    ),
    CompanyStory(
        "The chat is told to answer briefly: 40% of the output, the same input",
        [
            volume(
                f"Production / {SONNET}",
                [chat],
                [replace(chat, tokens=times(1, CHAT, **{OUTPUT: 0.4}))],
                FIRST_OF_OCTOBER,
                "less output in",
            )
        ],
        without(chat),
    ),
    CompanyStory(
        "Nothing but noise: February against January",
        [],
        COMPANY,
        JANUARY,
        FEBRUARY,
        {"period": "2026-02"},
        days_first=True,
    ),
    CompanyStory(
        "A Mobile team begins on October 10, the assistant of Research is used 20% less",
        [
            volume(
                f"{HAIKU} in Mobile",
                [],
                [replace(classifier, workspace=MOBILE, api_key="apikey_mobile", tokens=times(2, CHAT))],
                date(2026, 10, 10),
            ),
            volume(
                f"{OPUS} in Research",
                [assistant],
                [replace(assistant, tokens=times(0.8, assistant.on))],
                FIRST_OF_OCTOBER,
                "less use of",
            ),
        ],
        without(assistant),
    ),
    CompanyStory(
        "The chat moves from Sonnet 4.5 to 4.6 at the same price, and its answers become 80% longer",
        [
            Change(
                "volume",
                f"more output in Production / {SONNET}",
                [_old_chat],
                [_longer_chat],
                date(2026, 10, 4),
            )
        ],
        without(chat),
    ),
    CompanyStory(
        "Coding moves from Opus 4.1 to Opus 4.6, a third of the price, and grows by half",
        [
            Change(
                "model_mix",
                f"shift from {OPUS_4_1} to {OPUS} in Engineering",
                [_old_coding],
                [_new_coding],
                FIRST_OF_OCTOBER,
                change=dollars([coding], OCTOBER) - dollars([_old_coding], OCTOBER),
            ),
            Change(
                "volume",
                f"more use of {OPUS} in Engineering",
                change=dollars([_new_coding], OCTOBER) - dollars([coding], SEPTEMBER) * 31 / 30,
            ),
        ],
        without(coding),
    ),
    CompanyStory(
        "A release of the coding agents breaks their cache on October 19; others use the same model as before",
        [
            Change(
                "cache_mix",
                f"lower cache hit rate of {OPUS} in Engineering",
                [coding],
                [replace(coding, tokens=moved(CODING, CACHE_READ, UNCACHED, 0.5))],
                date(2026, 10, 19),
            )
        ],
        without(coding),
    ),
    CompanyStory(
        "Data reprocesses its archive on October 13 and 14",
        [
            volume(
                f"{HAIKU} in Data",
                [],
                [replace(enrichment, tokens=times(25, enrichment.on), end=date(2026, 10, 14))],
                date(2026, 10, 13),
            )
        ],
        COMPANY,
    ),
    CompanyStory(
        "Coding grows by 6% a month: the third quarter against the second",
        [volume(f"{OPUS} in Engineering", [replace(coding, tokens=_month_by_month)], [], date(2027, 1, 1))],
        without(coding),
        (date(2026, 4, 1), date(2026, 6, 30)),
        (date(2026, 7, 1), date(2026, 9, 30)),
        {"period": "last_quarter"},
    ),
    CompanyStory(
        "The chat grows by 40% in the last week, whose bill is 1.5 days late",
        [volume(f"{SONNET} in Production", [chat], [replace(chat, tokens=times(1.4, CHAT))], date(2026, 11, 15))],
        without(chat),
        (date(2026, 11, 8), date(2026, 11, 13)),
        (date(2026, 11, 15), date(2026, 11, 20)),
        {"period": "last_7_days"},
        billing_lag=timedelta(days=1.5),
    ),
)


# --- questions to all tools

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """One question about the company, and what is true.

    Attributes:
        analyst: What a good analyst says.
        says: What the summary must contain.
        holds: Whether the numbers of an answer are true, by what they are.
    """

    name: str
    analyst: str
    organization: PlantedOrg
    tool: str
    arguments: Mapping[str, Any]
    says: Sequence[str] = ()
    holds: Callable[[Answer], Mapping[str, bool]] = lambda _: {}


def company(*workloads: Workload, leave_out: Sequence[Workload] = (), **more: Any) -> PlantedOrg:
    return PlantedOrg([*without(*leave_out), *workloads], keys=KEYS, workspaces=WORKSPACES, **more)


def near(told: str | None, truth: Decimal, share: float = 1e-9) -> bool:
    """Whether a number is the true one, but for a share of it."""
    return told is not None and abs(Decimal(told) - truth) <= abs(truth) * Decimal(share)


def total_of(answer: Answer, label: str) -> str | None:
    return next((each["totals"]["cost"] for each in answer["series"] if each["label"] == label), None)


def price_of(answer: Answer, **group: str) -> Answer:
    return next(row for row in answer["prices"] if group.items() <= row["group"].items())


def _a_fifth_off_since_october_11(day: date) -> Decimal:
    return Decimal("0.8" if day >= date(2026, 10, 11) else "1")


_contractor = replace(coding, api_key="apikey_contractor", tokens=times(0.4, CODING), end=date(2026, 10, 20))
_cheaper = replace(review, discount=_a_fifth_off_since_october_11)
_doubled = (
    replace(coding, end=date(2026, 11, 1)),
    replace(coding, tokens=times(2, CODING), start=date(2026, 11, 2)),
)
_archive = replace(enrichment, tokens=times(25, enrichment.on), start=date(2026, 11, 10), end=date(2026, 11, 11))
_stopped = replace(coding, end=date(2026, 11, 16))
_NOVEMBER, _TO_DATE = (date(2026, 11, 1), date(2026, 11, 30)), (date(2026, 11, 1), date(2026, 11, 21))


def _saved(workload: Workload, span: Span) -> Decimal:
    """What caching saved: reads at a tenth, and writes at 1.25 times, of the price of uncached input."""
    return sum(
        (
            workload.price(UNCACHED, day)
            * (Decimal("0.9") * workload.on(day)[CACHE_READ] - Decimal("0.25") * workload.on(day)[WRITE_5M])
            / M
            for day in days(*span)
        ),
        Decimal(0),
    )


def _is_forecast(workloads: Sequence[Workload], within: float) -> Callable[[Answer], Mapping[str, bool]]:
    truth = dollars(workloads, _NOVEMBER)

    def holds(answer: Answer) -> Mapping[str, bool]:
        return {
            "expected": near(answer["expected"], truth, within),
            "interval": Decimal(answer["low"]) <= Decimal(answer["expected"]) <= Decimal(answer["high"]),
            "spent": Decimal(answer["spent"]) >= dollars(workloads, _TO_DATE) - Decimal("0.01"),
        }

    return holds


QUESTIONS: Sequence[Question] = (
    Question(
        "October by key, with a contractor's key that was deleted since",
        "the exact cost of each key, the deleted one among them, and what came without a key",
        company(_contractor),
        "get_spend",
        {"period": "2026-10", "group_by": ["api_key_id"], "granularity": "total"},
        holds=lambda answer: {
            **{
                str(each.api_key): near(total_of(answer, str(each.api_key)), dollars([each], OCTOBER), 1e-6)
                for each in (chat, classifier, coding, review, enrichment, evaluation)
            },
            "deleted": any(
                each["group"] == {"api_key_id": "apikey_contractor"}
                and near(each["totals"]["cost"], dollars([_contractor], OCTOBER), 1e-6)
                for each in answer["series"]
            ),
            "without a key": any(
                each["group"] == {"api_key_id": None} and near(each["totals"]["cost"], dollars([assistant], OCTOBER))
                for each in answer["series"]
            ),
        },
    ),
    Question(
        "Prices of October, in which one team pays 20% less from the 11th on",
        "Sonnet of Engineering cost $3.00 until the 10th and $2.40 since; between them on average",
        company(_cheaper, leave_out=[review]),
        "get_effective_prices",
        {"period": "2026-10", "filter_by": {"workspace_id": ["Engineering"]}},
        holds=lambda answer: {
            "note": any(each["code"] == "prices_changed" for each in answer["notes"]),
            "range": [Decimal(each) for each in price_of(answer, model=SONNET)["range"][UNCACHED]]
            == [Decimal("2.4"), Decimal(3)],
            "average": near(
                price_of(answer, model=SONNET)["usd_per_million_tokens"][UNCACHED],
                sum((_cheaper.cost(day)[UNCACHED] for day in days(*OCTOBER)), Decimal(0))
                * M
                / sum(_cheaper.on(day)[UNCACHED] for day in days(*OCTOBER)),
                1e-6,
            ),
            "Opus": {
                name: Decimal(price) for name, price in price_of(answer, model=OPUS)["usd_per_million_tokens"].items()
            }
            == {UNCACHED: 5, CACHE_READ: Decimal("0.5"), WRITE_5M: Decimal("6.25"), OUTPUT: 25},
        },
    ),
    Question(
        "What did caching save in October, by workspace",
        "in each workspace the discount on reads less the premium on writes",
        company(),
        "cache_hit_ratio",
        {"period": "2026-10", "group_by": ["workspace_id"], "granularity": "total"},
        holds=lambda answer: {
            name: any(
                each["label"] == name and near(each["totals"]["cache_savings"], _saved(workload, OCTOBER), 1e-6)
                for each in answer["series"]
            )
            for name, workload in (("Production", chat), ("Engineering", coding), ("Research", assistant))
        },
    ),
    Question(
        "What will November cost, on the 22nd",
        "within a few percent of what it will be, and no less than was spent",
        company(),
        "forecast_spend",
        {},
        holds=_is_forecast(COMPANY, 0.03),
    ),
    Question(
        "What will November cost, in which coding doubled on the 2nd",
        "the new level goes on",
        company(*_doubled, leave_out=[coding]),
        "forecast_spend",
        {},
        holds=_is_forecast([*without(coding), *_doubled], 0.05),
    ),
    Question(
        "Anything odd in the last 30 days: the archive was reprocessed on November 10 and 11",
        "Data, on those two days, for what the archive cost; nothing else",
        company(_archive),
        "find_spend_anomalies",
        {},
        ["Data"],
        lambda answer: {
            "one": len(answer["anomalies"]) == 1,
            "days": (answer["anomalies"][0]["start"], answer["anomalies"][0]["end"]) == ("2026-11-10", "2026-11-11"),
            "excess": near(
                answer["anomalies"][0]["excess"],
                dollars([_archive], _TO_DATE),
                0.1,
            ),
            "driver": answer["anomalies"][0]["driver"].startswith(f"more use of {HAIKU} in Data +$"),
        },
    ),
    Question(
        "Anything odd in the last 30 days: coding stopped on November 17",
        "Engineering spends less since the 17th, and it goes on; nothing else",
        company(_stopped, leave_out=[coding]),
        "find_spend_anomalies",
        {},
        ["Engineering"],
        lambda answer: {
            "one": len(answer["anomalies"]) == 1,
            "since": answer["anomalies"][0]["start"] == "2026-11-17",
            "status": answer["anomalies"][0]["status"] == "ongoing",
            "excess": near(
                answer["anomalies"][0]["excess"], -dollars([coding], (date(2026, 11, 17), _TO_DATE[1])), 0.1
            ),
            "driver": answer["anomalies"][0]["driver"].startswith(f"less use of {OPUS} in Engineering -$"),
        },
    ),
    Question(
        "Anything odd in the last 30 days: the week and noise, no more",
        "nothing",
        company(),
        "find_spend_anomalies",
        {},
        holds=lambda answer: {"none": answer["anomalies"] == []},
    ),
    Question(
        "This month on November 10: one working day fewer than the same days of October",
        "less, because six of the nine days were working days, and seven in October",
        company(now=datetime(2026, 11, 10, 14, 30, tzinfo=UTC)),
        "compare_spend",
        {"period": "this_month"},
        ["2026-11-01 to 2026-11-09", "6 of 9 days are Monday to Friday, 7 of 9 in the earlier period"],
    ),
    Question(
        "By workspace: Support gets a workspace of its own on October 6, everything else stays",
        "Production lost what Support has; new is only the name",
        company(
            replace(chat, end=date(2026, 10, 5)),
            replace(chat, workspace=SUPPORT, start=date(2026, 10, 6)),
            leave_out=[chat],
        ),
        "compare_spend",
        {"period": "2026-10", "against": "2026-09", "group_by": ["workspace_id"]},
        holds=lambda answer: {
            "Support": any(
                each["label"] == "Support"
                and each.get("status") == "new"
                and near(each["cost"], dollars([chat], (date(2026, 10, 6), OCTOBER[1])))
                for each in answer["groups"]
            ),
            "total": near(answer["change"], dollars(COMPANY, OCTOBER) - dollars(COMPANY, SEPTEMBER)),
        },
    ),
)
