"""What the service does with corpora: it keeps their description; workers read the tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.auth.access import Principal
from app.corpora.schemas import CorpusCreate, CorpusRead
from app.db.models import CorpusRow
from app.errors import ConflictError, ForbiddenError, NotFoundError
from app.identifiers import new_id


def register(
    session: Session, principal: Principal, asked: CorpusCreate
) -> tuple[CorpusRead, bool]:
    """Store a corpus' description; return it, and whether it is new.

    Raises:
        ForbiddenError: the token is bound to a study.
        ConflictError: the name is another store's.
    """
    if principal.study_id is not None:
        raise ForbiddenError("a token that is bound to a study cannot register a corpus")
    definition = asked.model_dump(mode="json", exclude={"name"})
    if not asked.raters:  # so stored before there were any
        del definition["raters"]
    stored = session.scalar(select(CorpusRow).where(CorpusRow.name == asked.name))
    if stored is None:
        row = CorpusRow(
            id=new_id("corpus"),
            name=asked.name,
            definition=definition,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        _flush(session, asked.name)
        return to_read(row), True
    if stored.definition != definition:
        raise ConflictError(_TAKEN.format(name=asked.name))
    return to_read(stored), False


def find(session: Session, corpus: str) -> CorpusRow:
    """Return the corpus with this id or name.

    Raises:
        NotFoundError: there is none.
    """
    query = select(CorpusRow).where(or_(CorpusRow.id == corpus, CorpusRow.name == corpus))
    row = session.scalar(query.order_by(CorpusRow.id != corpus).limit(1))
    if row is None:
        raise NotFoundError("corpus", corpus)
    return row


def load(session: Session, corpus_id: str) -> CorpusRow:
    """Return the corpus with this id, which is known to exist."""
    return session.get_one(CorpusRow, corpus_id)


def page(session: Session, limit: int, cursor: str | None) -> Sequence[CorpusRow]:
    """Return up to `limit + 1` corpora after `cursor`, oldest first."""
    query = select(CorpusRow).order_by(CorpusRow.id).limit(limit + 1)
    return session.scalars(query if cursor is None else query.where(CorpusRow.id > cursor)).all()


def to_read(row: CorpusRow) -> CorpusRead:
    """Return the corpus as it is answered."""
    return CorpusRead(id=row.id, name=row.name, created_at=row.created_at, **row.definition)


_TAKEN = "the name '{name}' is taken by a corpus with other content; choose another name"


def _flush(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise ConflictError(_TAKEN.format(name=name)) from error
