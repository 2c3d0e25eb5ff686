"""Writing of scenario files of a fitted market, with a comment beside every estimate.

Values that the data do not give are choices (``Choices``), and their comments say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from execution_env.allocation.adverse_selection import crossing_price
from execution_env.allocation.scenario import Scenario
from execution_env.allocation.scenario_file import scenario_from_dict
from execution_env.calibration.fitting.cleanup import Cleanup, price_cleanup
from execution_env.calibration.fitting.estimate import Estimate, rounded
from execution_env.calibration.fitting.fit import AlgoFit, Fit
from execution_env.calibration.readers.tape import DataError

NICE = (1, 2, 3, 5)
"""First digits of a lot size."""

LOTS = 100
"""Approximate number of lots in an order."""


@dataclass(frozen=True)
class Choices:
    """Values that a scenario needs and data do not give.

    Attributes:
        name, description: name and description of the scenario.
        size, lot_size: size of the order and of a lot, shares.
        max_rate: share of a bucket's expected volume that may be posted.
        band: half-width of the envelope, a fraction of the order.
        envelope_penalty: basis points per share outside it, at every bucket's end.
        fees, rebates: basis points per filled share, by algo.
        impact: extra basis points for cleaning up the whole order at once; None: see
            ``fitting.cleanup``.
    """

    name: str
    description: str
    size: int
    lot_size: int
    max_rate: float = 0.3
    band: float = 0.2
    envelope_penalty: float = 1.0
    fees: Mapping[str, float] = field(default_factory=dict)
    rebates: Mapping[str, float] = field(default_factory=dict)
    impact: float | None = None


def lot_of(size: float) -> int:
    """Return a lot size that splits ``size`` shares into about a hundred lots.

    It is 1, 2, 3 or 5 times a power of ten.
    """
    ideal = max(size / LOTS, 1.0)
    power = 10 ** math.floor(math.log10(ideal))
    candidates = [digit * power for digit in (*NICE, 10)]
    return int(min(candidates, key=lambda lot: abs(math.log(lot / ideal))))


def crossing_fee(fit: Fit, choices: Choices) -> float:
    """Return fee minus rebate, in basis points, as ``Scenario.crossing_fee`` has it."""
    name = max(fit.algos, key=lambda algo: rounded(algo.half_spread)).name
    return choices.fees.get(name, 0.0) - choices.rebates.get(name, 0.0)


def cleanup(fit: Fit, choices: Choices) -> Cleanup:
    """Return the price of what an order leaves at its end."""
    return price_cleanup(fit.crossing, choices.size, crossing_fee(fit, choices), choices.impact)


def beyond_touch(fit: Fit, choices: Choices) -> float:
    """Return the basis points that a share left over pays beyond the touch, on average.

    They are added to the touch of every replayed day, so that leaving shares is no cheaper there
    than the scenario says. Fees are the scenario's.
    """
    price = cleanup(fit, choices).linear.value - crossing_fee(fit, choices)
    return max(price - fit.touch.value, 0.0)


def _said(estimate: Estimate, windows: int) -> str:
    """Return a comment: the estimate with its standard error, or why there is none."""
    if not math.isfinite(estimate.error):
        if estimate.note:
            return estimate.note
        return "no standard error: " + ("one window" if windows < 2 else "it does not vary")
    said = f"{estimate} (standard error, {windows} windows)"
    return f"{said}; {estimate.note}" if estimate.note else said


def scenario_toml(fit: Fit, choices: Choices, head: Sequence[str] = (), replay: str = "") -> str:
    """Return the text of a scenario file.

    Args:
        fit: the market.
        choices: values that are not estimated.
        head: lines of the comment at its top.
        replay: path of a file of days, relative to where the scenario will be; empty for none.
    """
    import tomlkit  # noqa: PLC0415  only writing needs it, and it takes a while

    document = tomlkit.document()
    for text in head:
        document.add(tomlkit.comment(text) if text else tomlkit.nl())
    document.add(tomlkit.nl())
    content, comments = _content(fit, choices)
    if replay:
        content["replay"] = {"file": replay}
        comments["replay.file"] = "training draws from its split train, numbered days are its test"
    document["name"] = content.pop("name")
    document["description"] = content.pop("description")
    algos = content.pop("algos")
    for section, values in content.items():
        document[section] = _table(values, section, comments)
    rows = tomlkit.aot()
    for algo in algos:
        rows.append(_table(algo, f"algos.{algo['name']}", comments))
    document["algos"] = rows
    return tomlkit.dumps(document)


def _table(values: dict[str, Any], section: str, comments: dict[str, str]) -> Any:
    import tomlkit  # noqa: PLC0415

    table = tomlkit.table()
    for key, value in values.items():
        comment = comments.get(f"{section}.{key}")
        if isinstance(value, list) and comment:  # too long a line to have a comment behind it
            table.add(tomlkit.comment(comment))
        table[key] = value
        if comment and not isinstance(value, list):
            table[key].comment(comment)
    return table


def scenario_of(fit: Fit, choices: Choices) -> Scenario:
    """Return the scenario whose file ``scenario_toml`` writes.

    Raises:
        ScenarioError: a choice is out of its range.
    """
    return scenario_from_dict(_content(fit, choices)[0])


def _content(fit: Fit, choices: Choices) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the content of the scenario file, and comments by dotted key."""
    comments: dict[str, str] = {}

    def keep(key: str, estimate: Estimate, low: float = -math.inf, high: float = math.inf) -> float:
        if not estimate.known:
            raise DataError(f"{key}: {estimate}. Give more data, or columns that have it.")
        comments[key] = _said(estimate, fit.windows)
        return min(max(rounded(estimate), low), high)

    algos = [_algo(algo, choices, keep) for algo in fit.algos]
    comments["volume.expected"] = _volumes_said(fit)
    left = cleanup(fit, choices)
    content: dict[str, Any] = {
        "name": choices.name,
        "description": choices.description,
        "order": {
            "size": choices.size,
            "lot_size": choices.lot_size,
            "buckets": len(fit.expected),
        },
        "costs": {"basis": "shortfall"},
        "liquidity": {
            "sd": 1.0,
            "persistence": keep("liquidity.persistence", fit.persistence, 0, 1),
        },
        "volume": {
            "expected": [float(round(b.value)) for b in fit.expected],
            "sd": keep("volume.sd", fit.volume_sd, 0, 5),
            "persistence": keep("volume.persistence", fit.volume_persistence, 0, 1),
        },
        "price": {
            "sd": keep("price.sd", fit.price_sd, 0, 10_000),
            "liquidity_correlation": keep(
                "price.liquidity_correlation", fit.move_correlation, -1, 1
            ),
        },
        "participation": {"max_rate": choices.max_rate, "window": 1},
        "envelope": {"kind": "twap", "band": choices.band},
        "penalties": {
            "envelope": choices.envelope_penalty,
            "residual": keep("penalties.residual", left.linear, 0),
            "residual_quadratic": keep("penalties.residual_quadratic", left.quadratic, 0),
        },
        "algos": algos,
    }
    own = _own_price(content)
    if content["penalties"]["residual"] < own:
        content["penalties"]["residual"] = own
        comments["penalties.residual"] = (
            f"the model's own all-in price of {fit.crossing.algo}, above that of the data, "
            + comments["penalties.residual"]
        )
    comments |= _choices_said(fit, choices)
    comments["volume.sd"] += "; of log volume, differences between times of the day included"
    comments["volume.persistence"] += "; those included too"
    comments["penalties.residual"] += "; see Clean-up above"
    if not left.given:
        comments["penalties.residual_quadratic"] += "; the rest of the price of all of the order"
    return content, comments


def _own_price(content: Mapping[str, Any]) -> float:
    """Return the model's ``crossing_price``, rounded up; 0 if it is negative."""
    return max(math.ceil(crossing_price(scenario_from_dict(content)) * 1e5) / 1e5, 0.0)


def _algo(algo: AlgoFit, choices: Choices, keep: Callable[..., float]) -> dict[str, Any]:
    """Return an algo's table; ``keep(key, estimate, low, high)`` gives the number that is written."""
    here = f"algos.{algo.name}"
    return {
        "name": algo.name,
        "half_spread": keep(f"{here}.half_spread", algo.half_spread),
        "fee": choices.fees.get(algo.name, 0.0),
        "rebate": choices.rebates.get(algo.name, 0.0),
        "fill_probability": keep(f"{here}.fill_probability", algo.fill_probability, 0, 1),
        "depth": keep(f"{here}.depth", algo.depth, 1e-9, 1e6),
        "depth_sd": keep(f"{here}.depth_sd", algo.depth_sd, 0, 20),
        "day_sd": keep(f"{here}.day_sd", algo.day_sd, 0, 20),
        "liquidity_loading": keep(f"{here}.liquidity_loading", algo.liquidity_loading, -1, 1),
    }


def _volumes_said(fit: Fit) -> str:
    """Return the comment on the expected volumes."""
    relative = [b.error / b.value for b in fit.expected if b.value > 0]
    return (
        "shares, means over windows; standard errors "
        f"{min(relative):.0%} to {max(relative):.0%} ({fit.windows} windows)"
        if relative and all(map(math.isfinite, relative))
        else f"shares; {fit.expected[0].note or 'no standard errors: one window'}"
    )


def _choices_said(fit: Fit, choices: Choices) -> dict[str, str]:
    """Return comments, by dotted key, on what was chosen or given and not estimated."""
    volume = sum(b.value for b in fit.expected)
    found = {
        "order.size": f"{choices.size / volume:.1%} of a window's mean volume; a choice",
        "liquidity.sd": "of no consequence: depths know the factor's sign and rank",
        "participation.max_rate": "a choice; depths above this share of volume were cut off in fitting",
        "participation.window": "a cap on each bucket by itself; a choice",
        "envelope.kind": "a choice, as is band",
        "penalties.envelope": "bps per share outside at a bucket's end; a choice",
    }
    if choices.impact is not None:
        found["penalties.residual_quadratic"] = "given, not estimated"
    for algo in fit.algos:
        for key in ("fee", "rebate"):
            found[f"algos.{algo.name}.{key}"] = "given, not estimated"
    return found
