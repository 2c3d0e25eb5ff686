"""Depth: the most that an algo can fill in a bucket, for algos without a fill rate.

An algo that posts x fills min(x, C). With probability 1 - p the depth C is zero. Otherwise it is
lognormal and proportional to the bucket's market volume V,

    C = depth V exp(day + sd G),        G ~ N(0, 1),

where ``depth`` is its median as a share of volume. In the data of two US stocks child orders fill
nearly all or nothing. No rate on the posted quantity reproduces this; a depth does.

A Gaussian copula with one common factor zeta ties the algos of a bucket (Li 2000, On default
correlation: a copula function approach, J. Fixed Income 9). Each algo has a latent y = loading zeta
+ sqrt(1 - loading^2) e. Its depth is the increasing function of y that has the law above. So p,
median and sd are exactly those of the scenario, whatever the loadings.

The trader learns about the hidden ``day`` from fills (see ``learned_depth``). A fill cut short
shows the depth. A full fill shows that the depth was no less (it is censored). No fill shows
nothing. The censored likelihood is a probit in ``day``. The posterior is kept normal by matching
its first two moments: assumed-density filtering, as in TrueSkill (Herbrich, Minka & Graepel 2007,
NIPS 19; Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, eq. 3.83-3.85).
"""

from __future__ import annotations

import math
from typing import Any

from execution_env.core.jit import inline, inner_inline, jit

LEAST_NOISE = 1e-3
"""Least standard deviation of log depth that learning assumes, because lots are whole."""


@inline
def normal_cdf(x: float) -> float:
    """Return P(N(0, 1) <= x), accurate in both tails."""
    return 0.5 * math.erfc(-x * 0.7071067811865476)


# Coefficients of algorithm AS 241, highest power first: numerator and denominator.
CENTRE = (
    (
        *(2509.0809287301226727, 33430.575583588128105, 67265.770927008700853),
        *(45921.953931549871457, 13731.693765509461125, 1971.5909503065514427),
        *(133.14166789178437745, 3.387132872796366608),
    ),
    (
        *(5226.495278852545925, 28729.085735721942674, 39307.89580009271061),
        *(21213.794301586595867, 5394.1960214247511077, 687.1870074920579083),
        *(42.313330701600911252, 1.0),
    ),
)
TAIL = (
    (
        *(7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177),
        *(1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055),
        *(4.6303378461565452959, 1.42343711074968357734),
    ),
    (
        *(1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966),
        *(0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494),
        *(2.05319162663775882187, 1.0),
    ),
)
FAR_TAIL = (
    (
        *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386),
        *(0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358),
        *(5.4637849111641143699, 6.6579046435011037772),
    ),
    (
        *(2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5),
        *(7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531),
        *(0.59983220655588793769, 1.0),
    ),
)


@inner_inline
def _ratio(coefficients: Any, r: float) -> float:
    top, bottom = 0.0, 0.0
    for above, below in zip(coefficients[0], coefficients[1]):  # noqa: B905  numba knows no strict
        top, bottom = top * r + above, bottom * r + below
    return top / bottom


@jit
def normal_quantile(p: float) -> float:
    """Return the inverse of ``normal_cdf`` to some 16 digits; infinite at 0 and 1.

    The method is algorithm AS 241, PPND16 (Wichura 1988, The percentage points of the normal
    distribution, Applied Statistics 37). SciPy's quantile cannot be called from compiled code.
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        return q * _ratio(CENTRE, 0.180625 - q * q)
    tail = p if q < 0.0 else 1.0 - p
    if tail <= 0.0:
        return -math.inf if q < 0.0 else math.inf
    r = math.sqrt(-math.log(tail))
    found = _ratio(TAIL, r - 1.6) if r <= 5.0 else _ratio(FAR_TAIL, r - 5.0)
    return -found if q < 0.0 else found


@jit
def depth_score(latent: float, chance: float) -> float:
    """Return G, the standard normal that decides the depth; -inf where there is no depth.

    There is depth where ``latent`` y lies in its upper part of probability p = ``chance``.
    """
    above = normal_cdf(-latent)
    if above >= chance:
        return -math.inf
    return -normal_quantile(above / chance)


@jit
def expected_fill(posted: float, chance: float, location: float, sd: float) -> float:
    """Return E min(x, C) for x = ``posted``.

    C is 0 except with probability ``chance``; then log C ~ N(location, sd^2). The result is the
    limited expected value of the lognormal (Klugman, Panjer & Willmot 2012, Loss Models, 4th ed.,
    appendix A.5.1).
    """
    if posted <= 0.0 or chance <= 0.0:
        return 0.0
    width = max(sd, 1e-9)
    z = (math.log(posted) - location) / width
    whole = math.exp(location + 0.5 * sd * sd)
    return chance * min(whole * normal_cdf(z - width) + posted * normal_cdf(-z), posted)


@jit
def learned_depth(
    memory: float,
    precision: float,
    sd: float,
    posted: float,
    filled: float,
    location: float,
    evidence: float,
    information: float,
) -> Any:
    """Return the evidence on a day's effect on log depth after a bucket.

    The posterior is normal with precision w + T and mean S / (w + T).

    Args:
        memory: factor on older evidence.
        precision: w, of the day effect before the order starts.
        sd: standard deviation of log depth within a day.
        posted, filled: lots.
        location: log of the bucket's median depth in lots, given its realised volume.
        evidence, information: S and T before.

    Returns:
        S and T after.
    """
    if posted <= 0.0 or filled <= 0.0 or precision == math.inf:
        return evidence, information
    noise = max(sd, LEAST_NOISE)
    evidence, information = memory * evidence, memory * information
    if filled < posted:
        seen = 1.0 / (noise * noise)
        return evidence + seen * (math.log(filled) - location), information + seen
    total = precision + information
    mean, variance = evidence / total, 1.0 / total
    width = math.sqrt(noise * noise + variance)
    z = (mean - (math.log(posted) - location)) / width
    # phi / Phi; where both are too small to divide, its asymptote
    ratio = 0.3989422804014327 * math.exp(-0.5 * z * z) / normal_cdf(z) if z > -30.0 else -z
    mean += variance / width * ratio
    variance *= 1.0 - variance / (width * width) * ratio * (ratio + z)
    return mean / variance, max(1.0 / variance - precision, 0.0)
