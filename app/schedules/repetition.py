"""What the repetition of a schedule costs a model of some size."""

from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.errors import ConflictError
from app.schedules import service
from app.schedules.schemas import RepetitionRead
from mixwright.repetition import DataConstrainedLaw, effective_tokens
from mixwright.schedules.pools import pools

_LAW: Final = (
    "Muennighoff et al., arXiv:2305.16264, fitted to C4: losses are of that corpus and for the "
    "difference alone; domain by domain it is an extrapolation"
)


def cost(
    session: Session, principal: Principal, identity: str, parameters: float
) -> RepetitionRead:
    """Return the law's loss of a schedule, and of as many tokens that never come again.

    Raises:
        NotFoundError, ForbiddenError, ConflictError: see `app.schedules.service.load`.
        ConflictError: the tokens of a domain are not known.
    """
    read, schedule = service.load(session, principal, identity)
    trained = {name: count for name, count in schedule.domain_tokens.items() if count}
    epochs = {name: count for name, count in (read.epochs or {}).items() if count is not None}
    unknown = [name for name in trained if name not in epochs]
    if unknown or not trained:
        raise ConflictError(
            f"the study does not say the tokens of {', '.join(unknown) or 'its domains'}, so how "
            "often they repeat is not known; give it their `tokens` and plan again"
        )
    sizes = {name: count / epochs[name] for name, count in trained.items()}
    unique, tokens = np.vstack(list(pools(schedule, sizes).values())).T
    law, size = DataConstrainedLaw(), np.array(parameters)
    loss, fresh = float(law.loss(size, unique, tokens)), float(law.loss(size, tokens, tokens))
    return RepetitionRead(
        parameters=parameters,
        trained_tokens=float(tokens.sum()),
        unique_tokens=float(np.minimum(unique, tokens).sum()),
        effective_tokens=float(effective_tokens(unique, tokens).sum()),
        loss=loss,
        loss_if_fresh=fresh,
        cost=loss - fresh,
        law=_LAW,
    )
