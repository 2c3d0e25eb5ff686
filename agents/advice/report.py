"""Printing of advice for a person: tables and sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.advice.advice import Advice, PlanAhead
from agents.console import counted

LEAST_PRICE = 5e-4
"""Least price that is shown, in the scenario's unit per share."""

HALF = 0.5
"""Largest distance, in shares, of an expected fill outside an edge that counts as inside."""

LEAST_COST = 5e-5
"""Least cost of the envelope that is shown, in the scenario's unit per share of the order."""

UNITS = "(*) in {0} per share of the order. For the order: in {0}, summed over shares."


def show(advice: Advice, console: Console) -> None:
    """Print ``advice`` without its notes."""
    scenario, order = advice.scenario, advice.scenario.order
    title = (
        f"{scenario.name}: {order.size:,} shares in {counted(scenario.buckets, 'bucket')}, lots of "
        f"{order.lot_size:,}. What {advice.policy} posts in bucket {advice.bucket + 1}:"
    )
    say(console, title)
    console.print()
    for name, text in _progress(advice):
        say(console, f"  {name:<17}{text}")
    console.print()
    console.print(_algos(advice))
    console.print()
    say(console, _decision(advice))
    if advice.options:
        console.print()
        console.print(_options(advice))
    if advice.plan is not None:
        console.print()
        console.print(_plan(advice, advice.plan))
        console.print()
        say(console, _costs(advice, advice.plan))
    if advice.policy != "lp":
        console.print()
        same = np.array_equal(advice.lp, advice.post)
        what = "the same" if same else posting(advice, advice.lp.tolist())
        say(console, f"Plain lp would post {what}.")
    console.print()
    say(console, UNITS.format(advice.scenario.unit))


def say(console: Console, text: str) -> None:
    """Print ``text`` unchanged, wrapped."""
    console.print(text, markup=False)


def posting(advice: Advice, post: Iterable[float]) -> str:
    """Return the posting as text, such as "1,000 Aggressive, 500 Passive"."""
    names = advice.scenario.algo_names
    parts = [
        f"{round(shares):,} {name}" for name, shares in zip(names, post, strict=True) if shares > 0
    ]
    return ", ".join(parts) or "nothing"


def _progress(advice: Advice) -> list[tuple[str, str]]:
    size, buckets = advice.scenario.order.size, advice.scenario.buckets
    lines = [
        ("filled so far", f"{advice.filled:,} of {size:,} shares, {advice.filled / size:.1%}"),
        ("remaining", f"{advice.remaining:,} shares"),
    ]
    if advice.bucket == buckets - 1:
        lines.append(("envelope", "none at the end of the last bucket; what is left over counts"))
    else:
        lines.append(
            (
                "envelope",
                f"from {advice.lower:,.0f} to {advice.upper:,.0f} shares filled by the end of this "
                "bucket",
            )
        )
    lines.append(
        ("postable now", f"{advice.postable:,} shares; the limit is {' and '.join(advice.limits)}")
    )
    if advice.past:
        posting_cost = sum(bucket.posting_cost for bucket in advice.past)
        penalty = sum(bucket.envelope_penalty for bucket in advice.past)
        lines.append(
            ("paid so far", f"{posting_cost:.4f} for posting, {penalty:.4f} for the envelope (*)")
        )
    return lines


def _table(*columns: str, title: str = "") -> Table:
    shown = Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for j, name in enumerate(columns):
        shown.add_column(Text(name), justify="right" if j else "left", vertical="bottom")
    return shown


def _algos(advice: Advice) -> Table:
    scenario = advice.scenario
    posted, filled = advice.so_far
    shown = _table(
        "algo", "cost", "predicted", "estimate", "learned", "posted", "filled", "post now"
    )
    costs = scenario.posting_costs[advice.bucket]
    for i, name in enumerate(scenario.algo_names):
        shown.add_row(
            Text(name),
            f"{costs[i]:g}",
            f"{advice.predictions[i]:.1%}",
            f"{advice.estimates[i]:.1%}",
            f"{advice.evidence[i]:.0%}",
            f"{posted[i]:,}",
            f"{filled[i]:,}",
            Text(f"{advice.post[i]:,}", style="bold"),
        )
    shown.add_section()
    shown.add_row(
        "total",
        *[""] * 4,
        f"{posted.sum():,}",
        f"{filled.sum():,}",
        Text(f"{advice.post.sum():,}", style="bold"),
    )
    return shown


def _decision(advice: Advice) -> str:
    if advice.remaining == 0:
        return "Everything has filled: there is nothing to post."
    if advice.postable == 0:
        return f"Nothing may be posted now; the limit is {' and '.join(advice.limits)}."
    after = advice.filled + advice.expected_fill
    size = advice.scenario.order.size
    where = ""
    if advice.bucket < advice.scenario.buckets - 1:
        where = ", inside the envelope"
        if after < advice.lower - HALF or after > advice.upper + HALF:
            where = f", {'below' if after < advice.lower else 'above'} the envelope"
    return (
        f"Post {posting(advice, advice.post.tolist())}. If fills come as estimated, "
        f"{advice.expected_fill:,.0f} shares fill, {after:,.0f} in all ({after / size:.1%}){where}; "
        f"posting costs {advice.expected_cost:.4f} (*), {advice.expected_cost * size:,.0f} for the "
        "order."
    )


def _options(advice: Advice) -> Table:
    chances = advice.options[0].probability is not None
    shown = _table("", "probability" if chances else "objective from here (*)", "post")
    shown.columns[2].justify = "left"
    for j, option in enumerate(advice.options):
        worth = "never tried"
        if option.probability is not None:
            worth = f"{option.probability:.1%}"
        elif option.objective is not None:
            worth = f"{option.objective:.4f}"
        text = Text(posting(advice, option.post.tolist()))
        shown.add_row("" if j else "chosen", worth, text, style=None if j else "bold")
    return shown


def _plan(advice: Advice, ahead: PlanAhead) -> Table:
    names, plan = advice.scenario.algo_names, ahead.plan
    shown = _table(
        "bucket",
        *names,
        "filled",
        "envelope",
        "lower",
        "upper",
        "limits",
        title="The plan: shares to post, shares filled by then, and what the envelope's edges and the "
        f"limits cost, in {advice.scenario.unit} per share",
    )
    last = len(ahead.post) - 1
    for j, post in enumerate(ahead.post):
        edges = f"{ahead.lower[j]:,.0f}-{ahead.upper[j]:,.0f}" if j < last else ""
        prices = (plan.lower_prices[j], plan.upper_prices[j], plan.limit_prices[j])
        shown.add_row(
            str(advice.bucket + 1 + j),
            *(f"{shares:,.0f}" if shares >= 0.5 else "-" for shares in post),
            f"{ahead.cumulative[j]:,.0f}",
            edges,
            *(f"{price:.3f}" if price > LEAST_PRICE else "-" for price in prices),
        )
    return shown


def _costs(advice: Advice, ahead: PlanAhead) -> str:
    plan, size = ahead.plan, advice.scenario.order.size
    sentences = [
        f"From here the plan expects a cost of {plan.expected_cost:.4f} (*), "
        f"{plan.expected_cost * size:,.0f} for the order: posting {plan.posting_cost:.4f}, leaving the "
        f"envelope {plan.envelope_penalty:.4f}, shares left over {plan.residual_penalty:.4f}. Days "
        "bring more surprises than plans know of: on average it will be more."
    ]
    lower, upper = ahead.lower[:-1], ahead.upper[:-1]
    if not ((lower > 0) | (upper < size)).any():
        return " ".join([*sentences, "No envelope lies ahead."])
    if ahead.envelope_cost <= LEAST_COST:
        free = "The envelope costs nothing now: without it the best plan would cost the same."
        return " ".join([*sentences, free])
    sentences.append(
        f"The envelope costs {ahead.envelope_cost:.4f} of it, {ahead.envelope_cost * size:,.0f} for the "
        f"order: without it the best plan would cost {ahead.without_envelope:.4f}."
    )
    j = int(np.argmax(np.maximum(plan.lower_prices, plan.upper_prices)))
    low, high = float(plan.lower_prices[j]), float(plan.upper_prices[j])
    if max(low, high) > LEAST_PRICE:
        name, less = ("lower", "fewer") if low >= high else ("upper", "more")
        sentences.append(
            f"Its most expensive edge is the {name} one after bucket {advice.bucket + 1 + j}: if one "
            f"share {less} could have filled by then, {max(low, high):.2f} {advice.scenario.unit} "
            "would be saved."
        )
    return " ".join(sentences)
