"""A training's weights: what becomes of each event, as pure functions.

Where a training stands is a function of its log: `fold` of the events. A service that keeps the
log, the ledger of versions and the standing beside each event takes `apply` for each new one, and
comes to the same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mixwright.arrays import FloatArray
from mixwright.errors import InvalidInputError
from mixwright.reweighting.following import follow, following
from mixwright.reweighting.ledger import (
    PROPOSED,
    PUBLISHED,
    VOID,
    Approve,
    Entry,
    Event,
    Follow,
    Observe,
    Outcome,
    Past,
    Remap,
    Resume,
    Rollback,
    Standing,
)
from mixwright.reweighting.rules import ContradictionError, Rules, observed
from mixwright.reweighting.told import (
    Document,
)


def begin(rules: Rules, domains: tuple[str, ...], weights: FloatArray, seed: int) -> Standing:
    """Return where a training stands before any event.

    Args:
        rules: what was agreed.
        domains: names, length k.
        weights: shape `(k,)`, on the simplex; served as they are, but for pinned domains.
        seed: of everything random.

    Raises:
        InvalidInputError: the options do not fit the domains.
    """
    rules.guards.check(domains)
    free = rules.guards.free_part(weights, domains)
    state = rules.reweighter.init(_free_names(rules, domains), free, seed)
    has_pins = not rules.guards.is_free(domains).all()
    served = rules.guards.whole(free, domains) if has_pins else weights
    entry = Entry(0, 0, domains, served)
    return Standing(state, entry, entry)


def apply(rules: Rules, standing: Standing, event: Event, past: Past) -> Outcome:
    """Return what comes of an event that has not happened before.

    Raises:
        RefusedObservationError: an observation that cannot be used; nothing is to be kept of it.
        ContradictionError: it contradicts what happened before.
        InvalidInputError: it names something that there is not.
    """
    rules = rules.at(standing)
    if isinstance(event, Follow):
        return follow(rules, standing, event, past)
    if standing.schedule is not None:
        return following(rules, standing, event, past)
    if isinstance(event, Observe):
        return _observe(rules, standing, event, past)
    if isinstance(event, Resume):
        return _resume(rules, standing, event, past)
    if isinstance(event, Rollback):
        return _roll_back(rules, standing, event, past)
    if isinstance(event, Approve):
        return _approve(rules, standing, event, past)
    return _remap(rules, standing, event)


def is_repeated(past: Past, event: Observe) -> bool:
    """Return whether the same was told of this step before.

    Raises:
        ContradictionError: something else was told of it.
    """
    before = past.observed(event.told["step"])
    if before is None:
        return False
    if before != event.told:
        raise ContradictionError(
            f"something else was told of step {event.told['step']} before; a trainer that goes on "
            "from a checkpoint has to say so with `resume`"
        )
    return True


def _observe(rules: Rules, standing: Standing, event: Observe, past: Past) -> Outcome:
    told = observed(rules, standing, event, past)
    if told.step < standing.position:
        return _kept(standing, f"step {told.step} is before {standing.position}, the last one")
    if told.step < rules.guards.warmup_steps:
        return _kept(standing, f"weights are left alone until step {rules.guards.warmup_steps}")
    update = rules.reweighter.update(standing.state, told)
    if update.reason is not None:
        return replace(_kept(standing, update.reason), diagnostics=update.diagnostics)
    has_moved = not np.array_equal(update.state.weights, standing.state.weights)
    after = replace(
        standing,
        state=update.state,
        position=told.step,
        is_given=standing.is_given and not has_moved,
    )
    return replace(_offered(rules, after), diagnostics=update.diagnostics)


def _kept(standing: Standing, reason: str) -> Outcome:
    return Outcome(standing, applied=False, reason=reason)


def _offered(rules: Rules, standing: Standing) -> Outcome:
    """Return what the guards make of the algorithm's weights."""
    guards, position = rules.guards, standing.position
    if standing.is_given:
        return Outcome(standing)
    next_change = (standing.changed_at or 0) + guards.min_interval
    if standing.changed_at is not None and position < next_change:
        return Outcome(standing, reason=f"the weights may change again from step {next_change} on")
    target = guards.output(standing.state.weights, standing.domains)
    weights = guards.limited(standing.served.weights, target)
    if np.array_equal(weights, standing.newest.weights):
        return Outcome(standing)
    fate = PROPOSED if rules.needs_approval else PUBLISHED
    outcome = _published(rules, replace(standing, changed_at=position), weights, fate)
    return replace(outcome, reason="it awaits approval" if rules.needs_approval else None)


def _published(
    rules: Rules, standing: Standing, weights: FloatArray, fate: str = PUBLISHED
) -> Outcome:
    """Return a new entry of these weights `(k,)`, for the standing's domains."""
    entry = Entry(
        standing.last_version + 1,
        standing.position + rules.lead_steps,
        standing.domains,
        weights,
        fate,
    )
    served = entry if fate == PUBLISHED else standing.served
    after = replace(standing, served=served, newest=entry, last_version=entry.version)
    return Outcome(after, entry)


def _resume(rules: Rules, standing: Standing, event: Resume, past: Past) -> Outcome:
    """Go back to where the training stood at a step; later versions that it had come anew."""
    entry, then = _in_force(event.version, past), past.standing_at(event.step)
    if entry.domains != then.domains:
        raise ContradictionError(
            f"version {event.version} is of other domains than those of step {event.step}"
        )
    forked = replace(
        then,
        served=entry,
        newest=entry,
        last_version=standing.last_version,
        position=event.step,
    )
    outcome = Outcome(forked)
    if then.served.version > event.version:
        outcome = _published(rules, forked, then.served.weights)
    return replace(outcome, void_above=event.version)


def _roll_back(rules: Rules, standing: Standing, event: Rollback, past: Past) -> Outcome:
    """Publish old weights once more; the algorithm goes on from them, with what it remembers."""
    entry = _in_force(event.version, past)
    if entry.domains != standing.domains:
        raise ContradictionError(f"version {event.version} is of other domains")
    free = rules.guards.free_part(entry.weights, entry.domains)
    state = replace(standing.state, weights=free)
    return _published(rules, replace(standing, state=state, is_given=True), entry.weights)


def _in_force(version: int, past: Past) -> Entry:
    """Return an entry that was or is served."""
    entry = past.entry(version)
    if entry is None:
        raise InvalidInputError(f"there is no version {version}", field="version")
    if entry.fate != PUBLISHED:
        raise ContradictionError(f"version {version} is {entry.fate}, it is not in force")
    return entry


def _approve(rules: Rules, standing: Standing, event: Approve, past: Past) -> Outcome:
    entry = past.entry(event.version)
    if entry is None:
        raise InvalidInputError(f"there is no version {event.version}", field="version")
    if entry.fate == PUBLISHED:
        return Outcome(standing, applied=False, reason="it was published before")
    if entry.fate == VOID or entry.version < standing.served.version:
        why = "is void" if entry.fate == VOID else f"is older than {standing.served.version}"
        raise ContradictionError(f"version {event.version} {why}; it cannot be served any more")
    effective = max(entry.effective_step, standing.position + rules.lead_steps)
    served = replace(entry, effective_step=effective, fate=PUBLISHED)
    newest = served if standing.newest.version == served.version else standing.newest
    return Outcome(replace(standing, served=served, newest=newest), served)


def _remap(rules: Rules, standing: Standing, event: Remap) -> Outcome:
    origin = _origin(event, standing.domains)
    if event.options is not None:
        rules = rules.with_options(event.options)
    begun = begin(
        rules if event.options is not None else _without_lost_pins(rules, event.domains),
        event.domains,
        _new_weights(event, origin, standing.served),
        standing.state.seed,
    )
    known = set(standing.state.domains)
    moved = rules.reweighter.remap(
        standing.state,
        begun.state,
        {new: old for new, old in origin.items() if old in known and new in begun.state.domains},
    )
    options = standing.options if event.options is None else event.options
    after = replace(standing, state=moved, served=begun.served, is_given=True, options=options)
    return _published(rules, after, begun.served.weights)


def _without_lost_pins(rules: Rules, domains: tuple[str, ...]) -> Rules:
    """Return the rules without the pins of other domains than these."""
    pins = {name: share for name, share in (rules.guards.pinned or {}).items() if name in domains}
    return replace(rules, guards=replace(rules.guards, pinned=pins))


def _origin(event: Remap, old: tuple[str, ...]) -> dict[str, str]:
    for new, name in event.origin.items():
        if new not in event.domains:
            raise InvalidInputError(f"'{new}' is not one of the new domains", field="origin")
        if name is not None and name not in old:
            raise InvalidInputError(f"'{name}' is not a domain of the training", field="origin")
    same = {name: name for name in event.domains if name in old}
    return {new: name for new, name in {**same, **event.origin}.items() if name is not None}


def _new_weights(event: Remap, origin: Mapping[str, str], served: Entry) -> FloatArray:
    """Return weights `(k,)` for new domains: a domain that was split is shared evenly."""
    if event.weights is not None:
        return np.array([event.weights[name] for name in event.domains])
    old, names = served.named(), list(origin.values())
    kept = np.array(
        [old[origin[name]] / names.count(origin[name]) if name in origin else 0.0
         for name in event.domains]
    )  # fmt: skip
    is_new = np.array([name not in origin for name in event.domains])
    share = is_new.mean()  # of all new domains together
    if not kept.sum():
        return np.full(len(event.domains), 1.0 / len(event.domains))
    return np.where(is_new, 1.0 / len(event.domains), (1.0 - share) * kept / kept.sum())


def _free_names(rules: Rules, domains: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(np.array(domains)[rules.guards.is_free(domains)].tolist())


@dataclass(slots=True)
class History:
    """A training's past in memory, as `fold` goes along."""

    standings: list[Standing]
    ledger: dict[int, Entry]
    told: dict[int, Document] = field(default_factory=dict)

    def entry(self, version: int) -> Entry | None:
        """Return an entry of the ledger."""
        return self.ledger.get(version)

    def standing_at(self, step: int) -> Standing:
        """Return the last standing whose position is `step` or less."""
        return next(one for one in reversed(self.standings) if one.position <= step)

    def begun(self, step: int) -> list[Entry]:
        """Return the published entries that take effect at `step` or before, by version."""
        return [
            entry
            for _, entry in sorted(self.ledger.items())
            if entry.fate == PUBLISHED and entry.effective_step <= step
        ]

    def observed(self, step: int) -> Document | None:
        """Return what was told of `step`."""
        return self.told.get(step)

    def keep(self, event: Event, outcome: Outcome) -> None:
        """Note what came of an event."""
        if outcome.void_above is not None:
            for version, entry in self.ledger.items():
                if version > outcome.void_above:
                    self.ledger[version] = replace(entry, fate=VOID)
        if outcome.entry is not None:
            self.ledger[outcome.entry.version] = outcome.entry
        self.ledger |= {entry.version: entry for entry in outcome.planned}
        if isinstance(event, Resume):
            self.told = {step: told for step, told in self.told.items() if step <= event.step}
        if isinstance(event, Observe):
            self.told[event.told["step"]] = event.told
        self.standings.append(outcome.standing)


def fold(rules: Rules, begun: Standing, events: Sequence[Event]) -> tuple[Standing, list[Entry]]:
    """Return where a training stands after `events`, and its ledger.

    Observations that come again change nothing.

    Args:
        rules: what was agreed.
        begun: what `begin` returned.
        events: in the order in which they came.

    Raises:
        ContradictionError, InvalidInputError: see `apply`.
    """
    past = History([begun], {0: begun.served})
    for event in events:
        if isinstance(event, Observe) and is_repeated(past, event):
            continue
        past.keep(event, apply(rules, past.standings[-1], event, past))
    return past.standings[-1], list(past.ledger.values())
