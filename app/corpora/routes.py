"""HTTP endpoints of corpora."""

from fastapi import APIRouter, Response

from app.auth.access import CurrentPrincipal, Scope, requires
from app.corpora import service
from app.corpora.schemas import CorpusCreate, CorpusRead
from app.db.session import ReadSession, WriteSession
from app.idempotency import Answering
from app.wire import Cursor, Limit, Page, paginate

router = APIRouter(prefix="/v1/corpora", tags=["corpora"])


@router.post(
    "",
    status_code=201,
    response_model=CorpusRead,
    responses={200: {"model": CorpusRead, "description": "registered before"}},
    dependencies=[requires(Scope.WRITE)],
)
def register_corpus(
    corpus: CorpusCreate, principal: CurrentPrincipal, session: WriteSession, answer: Answering
) -> Response:
    """Register a token store that training workers can reach."""
    read, is_new = service.register(session, principal, corpus)
    return answer(read, 201 if is_new else 200, {"Location": f"/v1/corpora/{read.id}"})


@router.get("", dependencies=[requires(Scope.READ)])
def list_corpora(
    session: ReadSession, limit: Limit = 100, cursor: Cursor = None
) -> Page[CorpusRead]:
    """List corpora, oldest first."""
    rows, after = paginate(service.page(session, limit, cursor), limit)
    return Page(items=[service.to_read(row) for row in rows], next_cursor=after)


@router.get("/{corpus}", dependencies=[requires(Scope.READ)])
def get_corpus(corpus: str, session: ReadSession) -> CorpusRead:
    """Get a corpus by id or name."""
    return service.to_read(service.find(session, corpus))
