"""By what documents of a sample are known again, in whatever parts they come.

A document that has an id is known by a hash of it with its domain, tokens and scores. The hashes of
a part are stored sorted, beside it; a part that comes is compared with one of them after the other.
"""

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.sampling_models import SampleNamesRow
from app.samples.packing import Array, pack, unpack
from mixwright.arrays import BoolArray


def is_new(session: Session, study_id: str, names: Array) -> BoolArray:
    """Return which of the documents with these names `(n,)` the sample does not have, `(n,)`.

    Of those that come twice the first is new; documents without a name, 0, always are.
    """
    distinct, first = np.unique(names, return_index=True)
    known = np.zeros(len(distinct), dtype=np.bool_)
    of_study = SampleNamesRow.study_id == study_id
    for part in session.scalars(select(SampleNamesRow.sha256).where(of_study)).all():
        known |= _is_in(distinct, _load(session, study_id, part))
    found: BoolArray = names == 0
    found[first[~known]] = True
    return found


def row_of(study_id: str, sha256: str, names: Array) -> SampleNamesRow | None:
    """Return what is to be stored of a part's names; nothing if no document has one."""
    some = np.sort(names[names > 0])
    return (
        SampleNamesRow(study_id=study_id, sha256=sha256, names=pack([some])) if len(some) else None
    )


def _load(session: Session, study_id: str, sha256: str) -> Array:
    query = select(SampleNamesRow.names).where(
        SampleNamesRow.study_id == study_id, SampleNamesRow.sha256 == sha256
    )
    (names,) = unpack(session.scalars(query).one())
    return names


def _is_in(names: Array, others: Array) -> BoolArray:
    """Return which of the sorted `names` are among the sorted `others`, of which there are some."""
    place = np.minimum(np.searchsorted(others, names), len(others) - 1)
    return np.asarray(others[place] == names)
