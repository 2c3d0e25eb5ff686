"""Which policies a comparison is of, what it calls them, and which of them differ in their seed only."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from agents.console import Track, silent
from agents.policy import (
    BOUNDS,
    BUILT_IN,
    Policy,
    check_fits,
    differences,
    load_policy,
    policy_names,
)
from agents.run_directory import CONFIG, read_config
from agents.storage import RunError
from execution_env import Scenario

REFERENCE = "lp"
"""What every policy is compared with."""

Given = str | Path | Policy


class Entry(NamedTuple):
    """A policy in a comparison.

    Attributes:
        label: that tables call it by, unique.
        policy: ready to decide.
    """

    label: str
    policy: Policy


def select(
    given: Iterable[Given], scenario: Scenario, track: Track = silent
) -> tuple[list[Entry], list[str]]:
    """The policies to compare, and notes on them, a sentence each. Plain ``lp`` is always among them.

    Args:
        given: names, run directories, ``package.module:factory``, each also as ``label=...``; or
            policies.
        scenario: that they will play.
        track: shows what takes long.

    Raises:
        ValueError: a policy is unknown, does not fit the scenario, or shares its label with another.
    """
    if isinstance(given, str | Path | Policy):
        raise ValueError(f"policies = {given!r}: must be a list, also of one policy.")
    wanted = list(given)
    if REFERENCE not in [_label(item) for item in wanted]:
        wanted.append(REFERENCE)
    # What takes long is loaded last, so that mistakes show at once.
    quick_first = sorted(range(len(wanted)), key=lambda j: _split(wanted[j])[1] in BUILT_IN)
    labels = [_label(item) for item in wanted]
    _check_labels([label for label in labels if label is not None])
    loaded: dict[int, Entry] = {}
    for j in quick_first:
        loaded[j] = _load(wanted[j], scenario, track)
    entries = [loaded[j] for j in range(len(wanted))]
    _check_labels([entry.label for entry in entries])
    notes = [_elsewhere(entry) for entry in entries if _trained_elsewhere(entry.policy, scenario)]
    return entries, notes


def everything(scenario: Scenario, folder: Path = Path("runs")) -> tuple[list[Given], list[str]]:
    """All built-in policies, and the runs in ``folder`` trained on ``scenario``; with notes on those."""
    runs: list[str] = []
    notes: list[str] = []
    for path in sorted(folder.glob(f"**/{CONFIG}")):
        try:
            config = read_config(path.parent)
            if same(config.scenario, scenario) and not differences(config.scenario, scenario):
                load_policy(path.parent, scenario)
                runs.append(str(path.parent.relative_to(folder)))
        except (RunError, ValueError) as error:
            notes.append(f"Left out: {error}")
    if runs:
        notes.append(f"Found in {folder}: {', '.join(runs)}.")
    else:
        notes.append(f"No run in {folder} was trained on this scenario; python train.py makes one.")
    return [*policy_names(scenario), *(f"{run}={folder / run}" for run in runs)], notes


def same(one: Scenario, other: Scenario) -> bool:
    """Whether two scenarios are the same but for name and description."""
    return _bare(one) == _bare(other)


def _bare(scenario: Scenario) -> Scenario:
    return replace(scenario, name="-", description="")


def seeds_only(entries: Sequence[Entry]) -> dict[str, list[int]]:
    """Runs that differ in their seed only, as positions in ``entries``, by what to call them."""
    alike: dict[tuple[str, str], list[int]] = {}
    for j, entry in enumerate(entries):
        run = entry.policy.run
        if run is not None:
            about = json.dumps([run.kind, run.hyperparameters], sort_keys=True, default=list)
            alike.setdefault((about, repr(_bare(run.scenario))), []).append(j)
    groups: dict[str, list[int]] = {}
    for (about, _), where in alike.items():
        if len({_seed(entries[j].policy) for j in where}) < max(2, len(where)):
            continue  # alone, or the same run twice
        labels = [entries[j].label for j in where]
        name = f"{_shared(labels) or json.loads(about)[0]} ({len(where)} seeds)"
        while name in groups or name in [entry.label for entry in entries]:
            name += "'"
        groups[name] = where
    return groups


def _shared(labels: Sequence[str]) -> str:
    """How labels begin alike, without the beginning of a number or the word seed."""
    shortest = min(labels, key=len)
    length = 0
    while length < len(shortest) and len({label[length] for label in labels}) == 1:
        length += 1
    return re.sub(r"((^|[\W_]+)s(eed)?)?[\W_]*$", "", re.sub(r"\d+$", "", shortest[:length]))


def _seed(policy: Policy) -> int | None:
    return None if policy.run is None else policy.run.seed


def _split(item: Given) -> tuple[str | None, Given]:
    """The label that was given, if any, and the rest."""
    if not isinstance(item, str) or "=" not in item or Path(item).exists():
        return None, item
    label, _, rest = item.partition("=")
    if not label.strip() or not rest.strip():
        raise ValueError(f"policy {item}: must be label=POLICY, such as mine=runs/first.")
    return label.strip(), rest.strip()


def _label(item: Given) -> str | None:
    """What an item will be called, where that is known before loading it."""
    label, rest = _split(item)
    if label is None and isinstance(rest, Policy):
        return rest.name
    return rest if label is None and isinstance(rest, str) and rest in BUILT_IN else label


def _load(item: Given, scenario: Scenario, track: Track) -> Entry:
    label, rest = _split(item)
    if isinstance(rest, Policy):
        policy = rest
        check_fits(policy, scenario)
    elif isinstance(rest, str | Path):
        with track(f"making {rest}", None):
            policy = load_policy(rest, scenario)
        if policy.run is not None:
            label = label or Path(rest).resolve().name
    else:
        raise ValueError(f"policy {rest!r}: must be a name, a run directory or a Policy.")
    label = label or policy.name
    if label == REFERENCE and not (rest == REFERENCE or _is_plain_lp(policy)):
        raise ValueError(
            f"policy {REFERENCE}: that name is for the plain linear programme, which every policy is "
            "compared with; give yours another, such as mine=..."
        )
    return Entry(label, policy)


def _is_plain_lp(policy: Policy) -> bool:
    from agents.lp import LinearProgramme  # noqa: PLC0415  slow to import

    return (
        type(policy) is LinearProgramme
        and not policy.margins.any()
        and policy.at_most_remaining
        and not policy.explore
    )


def _check_labels(labels: Sequence[str]) -> None:
    for label in labels:
        if label in BOUNDS:
            raise ValueError(
                f"policy {label}: is the name of a bound, which is always computed; leave it out, or "
                "give your policy another name."
            )
        if labels.count(label) > 1:
            raise ValueError(
                f"policy {label}: is there twice; tell them apart as label=DIR, such as "
                f"{label}-2=runs/second."
            )


def _trained_elsewhere(policy: Policy, scenario: Scenario) -> bool:
    return policy.run is not None and not same(policy.run.scenario, scenario)


def _elsewhere(entry: Entry) -> str:
    trained = entry.policy.run.scenario.name if entry.policy.run else ""
    return f"{entry.label} was trained on another scenario, {trained}."
