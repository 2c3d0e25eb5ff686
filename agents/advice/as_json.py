"""Advice as JSON, for a desk's scripts."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.advice.advice import Advice, PlanAhead


def as_json(advice: Advice) -> dict[str, Any]:
    """Return ``advice`` in types that JSON can hold.

    Quantities are shares, costs are in the scenario's unit per share of the order, and buckets
    count from 1. The keys are:

    - scenario, policy, bucket, buckets, size, lot_size;
    - filled, remaining, postable, and limits (names);
    - envelope_lower and envelope_upper of this bucket;
    - algos: a list of name, cost, prediction, estimate, evidence, posted and filled so far, and
      post, which is the advice;
    - expected_fill and expected_cost of the advice;
    - posting_cost and envelope_penalty of the past;
    - plan, null unless the policy is a linear programme: expected_cost, its parts posting_cost,
      envelope_penalty and residual_penalty, without_envelope, envelope_cost, and buckets, a list of
      bucket, post (by algo, not rounded), filled (expected by the bucket's end), lower and upper
      (null for the last bucket), lower_price, upper_price, limit_price;
    - options: a list of post, objective and probability; at least one of the last two is null;
    - lp: shares that plain lp would post;
    - observation; notes.
    """
    scenario, names = advice.scenario, advice.scenario.algo_names
    posted, filled = advice.so_far

    def by_algo(post: Any) -> dict[str, Any]:
        return dict(zip(names, np.asarray(post).tolist(), strict=True))

    return {
        "scenario": scenario.name,
        "policy": advice.policy,
        "bucket": advice.bucket + 1,
        "buckets": scenario.buckets,
        "size": scenario.order.size,
        "lot_size": scenario.order.lot_size,
        "filled": advice.filled,
        "remaining": advice.remaining,
        "postable": advice.postable,
        "limits": advice.limits,
        "envelope_lower": round(advice.lower, 6),
        "envelope_upper": round(advice.upper, 6),
        "algos": [
            {
                "name": name,
                "cost": float(scenario.posting_costs[advice.bucket, i]),
                "prediction": float(advice.predictions[i]),
                "estimate": float(advice.estimates[i]),
                "evidence": float(advice.evidence[i]),
                "posted": int(posted[i]),
                "filled": int(filled[i]),
                "post": int(advice.post[i]),
            }
            for i, name in enumerate(names)
        ],
        "expected_fill": advice.expected_fill,
        "expected_cost": advice.expected_cost,
        "posting_cost": sum(bucket.posting_cost for bucket in advice.past),
        "envelope_penalty": sum(bucket.envelope_penalty for bucket in advice.past),
        "plan": None if advice.plan is None else _plan_as_json(advice, advice.plan, by_algo),
        "options": [
            {
                "post": by_algo(option.post),
                "objective": option.objective,
                "probability": option.probability,
            }
            for option in advice.options
        ],
        "lp": by_algo(advice.lp),
        "observation": [float(number) for number in advice.observation],
        "notes": advice.notes,
    }


def _plan_as_json(advice: Advice, ahead: PlanAhead, by_algo: Any) -> dict[str, Any]:
    plan, last = ahead.plan, len(ahead.post) - 1
    return {
        "expected_cost": plan.expected_cost,
        "posting_cost": plan.posting_cost,
        "envelope_penalty": plan.envelope_penalty,
        "residual_penalty": plan.residual_penalty,
        "without_envelope": ahead.without_envelope,
        "envelope_cost": ahead.envelope_cost,
        "buckets": [
            {
                "bucket": advice.bucket + 1 + j,
                "post": by_algo(ahead.post[j]),
                "filled": float(ahead.cumulative[j]),
                "lower": None if j == last else round(float(ahead.lower[j]), 6),
                "upper": None if j == last else round(float(ahead.upper[j]), 6),
                "lower_price": float(plan.lower_prices[j]),
                "upper_price": float(plan.upper_prices[j]),
                "limit_price": float(plan.limit_prices[j]),
            }
            for j in range(last + 1)
        ],
    }
