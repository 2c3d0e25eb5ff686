"""Selection of the policies to compare: their labels, and groups that differ in their seed only."""

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
    changes,
    check_fits,
    differences,
    load_policy,
    own_scenario,
    policy_names,
)
from agents.policy.sb3_normalised import RAW
from agents.policy.sb3_zip import is_zip
from agents.storage.files import RunError
from agents.storage.run_directory import CONFIG, RunConfig, read_config
from execution_env import Scenario

REFERENCE = "lp"
"""Label of the policy that every policy is compared with."""

Given = str | Path | Policy


class Entry(NamedTuple):
    """A policy in a comparison.

    Attributes:
        label: unique name in tables.
        policy: policy, ready to decide.
    """

    label: str
    policy: Policy


def select(
    given: Iterable[Given],
    scenario: Scenario,
    track: Track = silent,
    trust: bool = False,
    normalise: Sequence[str | Path] = (),
) -> tuple[list[Entry], list[str]]:
    """Return the policies to compare, always with plain ``lp``, and notes on them, a sentence each.

    Args:
        given: names, run directories, zips that Stable-Baselines3 saved, or
            ``package.module:factory``, each also as ``label=...``; or policies.
        scenario: scenario that they will play.
        track: shows slow steps.
        trust: whether to load such zips, and their statistics; see ``load_policy``.
        normalise: statistics of zips that were trained under ``VecNormalize``, or "none", each also
            as ``label=...``, which it must be where there are several zips.

    Raises:
        ValueError: a policy is unknown, does not fit the scenario, or shares its label with
            another; or statistics are for no zip, or for which zip is not said.
    """
    if isinstance(given, str | Path | Policy):
        raise ValueError(f"policies = {given!r}: must be a list, also of one policy.")
    wanted = list(given)
    if REFERENCE not in [_label(item) for item in wanted]:
        wanted.append(REFERENCE)
    # Built-in policies can be slow to make. They are loaded last, so that mistakes show at once.
    quick_first = sorted(range(len(wanted)), key=lambda j: _split(wanted[j])[1] in BUILT_IN)
    labels = [_label(item) for item in wanted]
    _check_labels([label for label in labels if label is not None])
    statistics = _statistics(wanted, normalise)
    loaded: dict[int, Entry] = {}
    for j in quick_first:
        loaded[j] = _load(wanted[j], scenario, track, trust, statistics.get(j))
    entries = [loaded[j] for j in range(len(wanted))]
    _check_labels([entry.label for entry in entries])
    return entries, [note for entry in entries for note in _elsewhere(entry, scenario)]


def everything(scenario: Scenario, folder: Path = Path("runs")) -> tuple[list[Given], list[str]]:
    """Return all built-in policies and the runs in ``folder`` trained on ``scenario``, with notes.

    A run's label is its folder, or its path where that label is taken.
    """
    names = policy_names(scenario)
    runs: dict[str, Path] = {}
    notes: list[str] = []
    for path in sorted(folder.glob(f"**/{CONFIG}")):
        try:
            config = read_config(path.parent)
            if same(config.scenario, scenario) and not differences(config.scenario, scenario):
                load_policy(path.parent, scenario)
                runs[_free(path.parent, folder, {*names, *BOUNDS, *runs})] = path.parent
        except (RunError, ValueError) as error:
            notes.append(f"Left out: {error}")
    if runs:
        notes.append(f"Found in {folder}: {', '.join(runs)}.")
    else:
        notes.append(f"No run in {folder} was trained on this scenario; python train.py makes one.")
    return [*names, *(f"{label}={path}" for label, path in runs.items())], notes


def _free(run: Path, folder: Path, taken: set[str]) -> str:
    """Return a label for a run in ``folder`` that is not ``taken``."""
    label, longer = (str(path).replace("=", "-").strip() for path in (run.relative_to(folder), run))
    if label in taken:
        label = longer
    while label in taken:
        label += "'"
    return label


def same(one: Scenario, other: Scenario) -> bool:
    """Return True if two scenarios are the same, name and description aside."""
    return _bare(one) == _bare(other)


def _bare(scenario: Scenario) -> Scenario:
    return replace(scenario, name="-", description="")


def seeds_only(entries: Sequence[Entry]) -> dict[str, list[int]]:
    """Return groups of runs that differ in their seed only, as positions in ``entries`` by label.

    If runs also share their seed, only the first counts.
    """
    groups: dict[str, list[int]] = {}
    runs = [entry.policy.run for entry in entries]
    for where in by_seed(runs):
        if len(where) < 2:
            continue
        labels, first = [entries[j].label for j in where], runs[where[0]]
        assert first is not None
        name = f"{_shared(labels) or first.kind} ({len(where)} seeds)"
        while name in groups or name in [entry.label for entry in entries]:
            name += "'"
        groups[name] = where
    return groups


def by_seed(runs: Sequence[RunConfig | None]) -> list[list[int]]:
    """Return the positions of ``runs`` in lists, one for all that differ in their seed only.

    A run alone is a list too. If runs also share their seed, only the first counts.
    """
    alike: dict[tuple[str, str], dict[int, int]] = {}
    for j, run in enumerate(runs):
        if run is not None:
            about = json.dumps([run.kind, run.hyperparameters], sort_keys=True, default=list)
            alike.setdefault((about, repr(_bare(run.scenario))), {}).setdefault(run.seed, j)
    return [list(positions.values()) for positions in alike.values()]


def _shared(labels: Sequence[str]) -> str:
    """Return the common beginning of labels, without the start of a number or the word seed."""
    shortest = min(labels, key=len)
    length = 0
    while length < len(shortest) and len({label[length] for label in labels}) == 1:
        length += 1
    return re.sub(r"((^|[\W_]+)s(eed)?)?[\W_]*$", "", re.sub(r"\d+$", "", shortest[:length]))


def _split(item: Given) -> tuple[str | None, Given]:
    """Return the label that was given, if any, and the rest."""
    if not isinstance(item, str) or "=" not in item or Path(item).exists():
        return None, item
    label, _, rest = item.partition("=")
    if not label.strip() or not rest.strip():
        raise ValueError(f"policy {item}: must be label=POLICY, such as mine=runs/first.")
    return label.strip(), rest.strip()


def _statistics(wanted: Sequence[Given], normalise: Sequence[str | Path]) -> dict[int, str | Path]:
    """Return the statistics that ``normalise`` gives, by the position of the zip in ``wanted``."""
    zips = {
        j: label or Path(rest).stem
        for j, (label, rest) in enumerate(map(_split, wanted))
        if isinstance(rest, str | Path) and rest not in BUILT_IN and is_zip(Path(rest))
    }
    found: dict[int, str | Path] = {}
    for item in normalise:
        label, file = None, item
        if isinstance(item, str) and "=" in item and not Path(item).exists():
            label, _, file = (part.strip() for part in item.partition("="))
        which = [j for j, name in zips.items() if label in (None, name)]
        if len(which) != 1:
            there = f"zips here: {', '.join(zips.values())}" if zips else "there is no zip here"
            raise ValueError(
                f"--normalise {item}: must be for one zip, as FILE.pkl or {RAW}, or as "
                f"LABEL=FILE.pkl where there are several; {there}."
            )
        if which[0] in found:
            raise ValueError(f"--normalise {item}: {zips[which[0]]} has statistics already.")
        found[which[0]] = file
    return found


def _label(item: Given) -> str | None:
    """Return the label of an item, or None where it is not known before loading."""
    label, rest = _split(item)
    if label is None and isinstance(rest, Policy):
        return rest.name
    return rest if label is None and isinstance(rest, str) and rest in BUILT_IN else label


def _load(
    item: Given, scenario: Scenario, track: Track, trust: bool, normalise: str | Path | None
) -> Entry:
    label, rest = _split(item)
    if isinstance(rest, Policy):
        policy = rest
        check_fits(policy, scenario)
    elif isinstance(rest, str | Path):
        with track(f"making {rest}", None):
            policy = load_policy(rest, scenario, trust, normalise)
        if policy.run is not None:
            label = label or Path(rest).resolve().name
    else:
        raise ValueError(f"policy {rest!r}: must be a name, a path or a Policy.")
    label = label or policy.name
    if label == REFERENCE and not (rest == REFERENCE or _is_plain_lp(policy, scenario)):
        raise ValueError(
            f"policy {REFERENCE}: that name is for the plain linear programme of the scenario played, "
            "which every policy is compared with; give yours another."
        )
    return Entry(label, policy)


def _is_plain_lp(policy: Policy, scenario: Scenario) -> bool:
    from agents.lp.variants import LinearProgramme  # noqa: PLC0415  slow to import

    return (
        type(policy) is LinearProgramme
        and same(policy.scenario, scenario)
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


def _elsewhere(entry: Entry, scenario: Scenario) -> list[str]:
    """Return a note if a policy was made for or trained on another scenario."""
    run = entry.policy.run
    source = entry.policy.scenario if run is None else run.scenario
    if same(source, scenario):
        return []
    how = "made for" if run is None else "trained on"
    name = (
        "another scenario" if source.name == scenario.name else f"another scenario, {source.name}"
    )
    return [f"{entry.label} was {how} {name}: {changes(source, scenario)}."]


def scenario_for(item: Given) -> Scenario | None:
    """Return the scenario of a run or policy, also given as ``label=...``; None for another policy.

    Raises:
        ValueError: the label is wrong; RunError: the run directory is damaged.
    """
    return own_scenario(_split(item)[1])
