import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from app.db.clock import database_now
from app.db.models import JobRow, StudyRow
from app.db.session import writing
from app.errors import ConflictError, problem
from app.jobs import service as jobs
from app.jobs.heartbeat import Heartbeat
from app.jobs.service import LeaseLostError
from app.jobs.sweeper import sweeping

BAD = problem(422, "too few runs")


@pytest.fixture
def transaction(sessions, rung):
    """Opens a transaction whose bells are noted in `rung`."""
    return lambda: writing(sessions, lambda job_id, queue: rung.append((job_id, queue)))


@pytest.fixture
def new_job(transaction, study):
    def make(after_id=None, kind="fit"):
        with transaction() as session:
            return jobs.create(session, study, kind, "fit", after_id).id

    return make


@pytest.fixture
def claim(transaction):
    def claim_once(job_id, lease_seconds=60.0):
        with transaction() as session:
            return jobs.claim(session, job_id, lease_seconds)

    return claim_once


@pytest.fixture
def job_of(sessions):
    def read(job_id):
        with sessions() as session:
            return jobs.get(session, job_id)

    return read


@pytest.fixture
def let_lapse(transaction):
    """Ends the lease of a job without waiting for it."""

    def lapse(job_id):
        with transaction() as session:
            past = database_now(session) - timedelta(seconds=1)
            session.execute(update(JobRow).where(JobRow.id == job_id).values(lease_until=past))

    return lapse


@pytest.fixture
def forget_bell(transaction):
    """Makes the last bell of a job an old one."""

    def forget(job_id):
        with transaction() as session:
            past = database_now(session) - timedelta(hours=1)
            session.execute(update(JobRow).where(JobRow.id == job_id).values(rung_at=past))

    return forget


class TestCreate:
    def test_rings_once_the_job_is_stored(self, sessions, study):
        seen = []

        def ring(job_id, queue):
            with sessions() as other:
                seen.append((other.get(JobRow, job_id) is not None, queue))

        with writing(sessions, ring) as session:
            jobs.create(session, study, "fit", "fit")
            assert seen == []
        assert seen == [(True, "fit")]

    def test_a_transaction_that_fails_rings_for_nothing(self, transaction, study, rung):
        def fail_after_asking():
            with transaction() as session:
                jobs.create(session, study, "fit", "fit")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail_after_asking()
        assert rung == []

    def test_a_job_that_comes_after_another_is_rung_when_that_succeeds(
        self, new_job, claim, transaction, rung
    ):
        first = new_job()
        second = new_job(after_id=first)
        assert rung == [(first, "fit")]
        lease = claim(first)
        with transaction() as session:
            jobs.succeed(session, lease)
        assert rung == [(first, "fit"), (second, "fit")]

    def test_a_job_that_comes_after_a_success_is_rung_at_once(
        self, new_job, claim, transaction, rung
    ):
        first = new_job()
        lease = claim(first)
        with transaction() as session:
            jobs.succeed(session, lease)
        assert (new_job(after_id=first), "fit") in rung

    def test_a_job_that_comes_after_a_failure_has_failed(self, new_job, claim, transaction, job_of):
        first = new_job()
        lease = claim(first)
        with transaction() as session:
            jobs.fail(session, lease, BAD)
        late = job_of(new_job(after_id=first))
        assert late.state == "failed"
        assert "too few runs" in late.error["detail"]


class TestClaim:
    def test_takes_a_queued_job(self, new_job, claim, job_of):
        job_id = new_job()
        lease = claim(job_id)
        assert (lease.job_id, lease.kind, lease.attempt) == (job_id, "fit", 1)
        job = job_of(job_id)
        assert (job.state, job.attempt) == ("running", 1)
        assert timedelta(seconds=55) < job.lease_until - job.started_at <= timedelta(seconds=60)

    def test_a_job_that_does_not_exist_is_not_claimed(self, claim, study):
        assert claim("job_0") is None

    def test_a_job_that_is_held_is_not_claimed(self, new_job, claim):
        job_id = new_job()
        assert claim(job_id) is not None
        assert claim(job_id) is None

    def test_a_job_that_waits_for_another_is_not_claimed(self, new_job, claim):
        assert claim(new_job(after_id=new_job())) is None

    def test_a_job_that_has_ended_is_not_claimed(self, new_job, claim, transaction):
        job_id = new_job()
        lease = claim(job_id)
        with transaction() as session:
            jobs.succeed(session, lease)
        assert claim(job_id) is None

    def test_a_lapsed_lease_goes_to_the_next_with_a_higher_attempt(self, new_job, claim, let_lapse):
        job_id = new_job()
        claim(job_id)
        let_lapse(job_id)
        assert claim(job_id).attempt == 2
        assert claim(job_id) is None

    def test_after_the_last_attempt_the_job_fails_and_says_so(
        self, new_job, claim, let_lapse, job_of
    ):
        job_id = new_job()
        waiting = new_job(after_id=job_id)
        for attempt in range(1, jobs.MAX_ATTEMPTS + 1):
            assert claim(job_id).attempt == attempt
            let_lapse(job_id)
        assert claim(job_id) is None
        job = job_of(job_id)
        assert job.state == "failed"
        assert "died 3 times" in job.error["detail"]
        assert job_of(waiting).state == "failed"

    def test_a_worker_that_comes_while_another_claims_gets_nothing(
        self, new_job, claim, transaction
    ):
        job_id = new_job()
        with ThreadPoolExecutor(1) as pool:
            with transaction() as session:
                assert jobs.claim(session, job_id, 60.0).attempt == 1
                session.flush()
                late = pool.submit(claim, job_id)
                wait([late], timeout=1.0)  # long enough for it to look at the row
            assert late.result() is None

    def test_of_many_workers_at_once_one_gets_the_job(self, new_job, claim):
        job_id, together = new_job(), threading.Barrier(8)

        def claim_together():
            together.wait()
            return claim(job_id)

        with ThreadPoolExecutor(8) as pool:
            leases = [pool.submit(claim_together) for _ in range(8)]
            won = [lease.result() for lease in leases if lease.result() is not None]
        assert [lease.attempt for lease in won] == [1]


class TestHold:
    def test_renewing_prolongs_the_lease_and_notes_progress(
        self, new_job, claim, transaction, job_of, let_lapse
    ):
        job_id = new_job()
        lease = claim(job_id)
        let_lapse(job_id)
        with transaction() as session:
            jobs.renew(session, lease, 0.5)
        assert job_of(job_id).progress == 0.5
        assert claim(job_id) is None

    def test_progress_never_goes_back_and_never_passes_one(
        self, new_job, claim, transaction, job_of
    ):
        job_id = new_job()
        lease = claim(job_id)
        for progress, expected in ((0.5, 0.5), (0.2, 0.5), (7.0, 1.0)):
            with transaction() as session:
                jobs.renew(session, lease, progress)
            assert job_of(job_id).progress == expected

    @pytest.mark.parametrize("end", ["succeed", "fail", "renew"])
    def test_who_lost_the_lease_can_neither_end_nor_renew(
        self, new_job, claim, transaction, let_lapse, job_of, end
    ):
        job_id = new_job()
        zombie = claim(job_id)
        let_lapse(job_id)
        claim(job_id)
        more = {"succeed": (), "fail": (BAD,), "renew": (0.9,)}[end]
        with pytest.raises(LeaseLostError), transaction() as session:
            getattr(jobs, end)(session, zombie, *more)
        job = job_of(job_id)
        assert (job.state, job.attempt, job.progress) == ("running", 2, 0.0)

    def test_a_lapsed_lease_that_nobody_took_can_still_succeed(
        self, new_job, claim, transaction, let_lapse, job_of
    ):
        job_id = new_job()
        lease = claim(job_id)
        let_lapse(job_id)
        with transaction() as session:
            jobs.succeed(session, lease)
        assert job_of(job_id).state == "succeeded"

    def test_a_job_whose_study_was_deleted_is_lost(self, new_job, claim, transaction, study):
        lease = claim(new_job())
        with transaction() as session:
            session.execute(delete(StudyRow).where(StudyRow.id == study))
        with pytest.raises(LeaseLostError), transaction() as session:
            jobs.succeed(session, lease)


class TestEnds:
    def test_success_is_complete(self, new_job, claim, transaction, job_of):
        lease = claim(new_job())
        with transaction() as session:
            jobs.succeed(session, lease)
        job = job_of(lease.job_id)
        assert (job.state, job.progress, job.error) == ("succeeded", 1.0, None)
        assert job.lease_until is None
        assert job.created_at <= job.started_at <= job.ended_at

    def test_failure_reaches_all_that_waited(self, new_job, claim, transaction, job_of):
        first = new_job()
        second = new_job(after_id=first, kind="recommendation")
        third = new_job(after_id=second, kind="export")
        lease = claim(first)
        with transaction() as session:
            jobs.fail(session, lease, BAD)
        assert job_of(first).error == BAD
        assert job_of(second).error["detail"] == "the fit it was to use failed: too few runs"
        assert job_of(third).state == "failed"

    def test_cancelling_a_queued_job_keeps_it_from_running(
        self, new_job, claim, transaction, job_of
    ):
        job_id = new_job()
        waiting = new_job(after_id=job_id)
        for _ in range(2):  # the second time changes nothing
            with transaction() as session:
                jobs.cancel(session, job_id)
        assert claim(job_id) is None
        assert job_of(job_id).state == "cancelled"
        assert job_of(waiting).error["detail"] == "the fit it was to use was cancelled"

    def test_a_cancelled_job_cannot_succeed(self, new_job, claim, transaction, job_of):
        lease = claim(new_job())
        with transaction() as session:
            jobs.cancel(session, lease.job_id)
        with pytest.raises(LeaseLostError), transaction() as session:
            jobs.succeed(session, lease)
        assert job_of(lease.job_id).state == "cancelled"

    def test_what_has_succeeded_cannot_be_cancelled(self, new_job, claim, transaction):
        lease = claim(new_job())
        with transaction() as session:
            jobs.succeed(session, lease)
        with pytest.raises(ConflictError, match="has succeeded"), transaction() as session:
            jobs.cancel(session, lease.job_id)


class TestSweep:
    @pytest.fixture
    def sweep(self, transaction, rung):
        def sweep_once():
            rung.clear()
            with transaction() as session:
                jobs.sweep(session, 10.0)
            return [job_id for job_id, _ in rung]

        return sweep_once

    def test_rings_again_for_a_queued_job_whose_bell_was_lost(self, new_job, sweep, forget_bell):
        job_id = new_job()
        assert sweep() == []
        forget_bell(job_id)
        assert sweep() == [job_id]
        assert sweep() == []

    def test_rings_for_a_running_job_whose_lease_lapsed(
        self, new_job, claim, sweep, forget_bell, let_lapse
    ):
        job_id = new_job()
        claim(job_id)
        forget_bell(job_id)
        assert sweep() == []
        let_lapse(job_id)
        assert sweep() == [job_id]

    def test_does_not_ring_for_a_job_that_waits_for_another(self, new_job, sweep, forget_bell):
        first = new_job()
        forget_bell(first)
        forget_bell(new_job(after_id=first))
        assert sweep() == [first]

    def test_rings_for_a_job_whose_predecessor_succeeded_unheard(
        self, new_job, claim, transaction, sweep, forget_bell
    ):
        first = new_job()
        second = new_job(after_id=first)
        lease = claim(first)
        with transaction() as session:
            jobs.succeed(session, lease)
        forget_bell(second)
        assert sweep() == [second]

    def test_fails_a_job_that_has_used_up_its_attempts(
        self, new_job, claim, sweep, forget_bell, let_lapse, job_of
    ):
        job_id = new_job()
        forget_bell(job_id)
        for _ in range(jobs.MAX_ATTEMPTS):
            claim(job_id)
            let_lapse(job_id)
        assert sweep() == []
        assert job_of(job_id).state == "failed"

    def test_a_long_queue_is_rung_for_a_part_at_a_time(self, new_job, sweep, forget_bell):
        queued = [new_job() for _ in range(jobs.RINGS_PER_SWEEP + 5)]
        for job_id in queued:
            forget_bell(job_id)
        first, second = sweep(), sweep()
        assert (len(first), len(second)) == (jobs.RINGS_PER_SWEEP, 5)
        assert sorted(first + second) == queued

    def test_many_sweepers_at_once_ring_once(self, new_job, sessions, forget_bell):
        for job_id in (queued := [new_job() for _ in range(10)]):
            forget_bell(job_id)
        heard, together = [], threading.Barrier(4)

        def sweep_together():
            together.wait()
            with writing(sessions, lambda job_id, _: heard.append(job_id)) as session:
                jobs.sweep(session, 10.0)

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(sweep_together) for _ in range(4)]:
                done.result()
        assert sorted(heard) == queued

    def test_the_thread_sweeps_at_once_and_stops(self, new_job, sessions, forget_bell):
        forget_bell(job_id := new_job())
        heard = threading.Event()
        with sweeping(sessions, lambda *bell: bell == (job_id, "fit") and heard.set(), 60.0):
            assert heard.wait(30)
        assert "sweeper" not in [thread.name for thread in threading.enumerate()]


class TestHeartbeat:
    def test_keeps_the_lease_and_passes_progress_on(self, sessions, new_job, claim, job_of):
        lease = claim(new_job(), lease_seconds=0.3)
        with Heartbeat(sessions, lease) as beat:
            beat.report(0.25)
            until(lambda: job_of(lease.job_id).progress == 0.25)
            first = job_of(lease.job_id).lease_until
            until(lambda: job_of(lease.job_id).lease_until > first + timedelta(seconds=0.3))
            assert claim(lease.job_id) is None

    def test_ends_the_work_of_a_cancelled_job(self, sessions, new_job, claim, transaction):
        lease = claim(new_job(), lease_seconds=0.3)
        with Heartbeat(sessions, lease) as beat:
            with transaction() as session:
                jobs.cancel(session, lease.job_id)
            with pytest.raises(LeaseLostError):
                until(lambda: beat.report(0.5))


def until(condition, seconds=30.0):
    """Return once `condition` holds."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def test_the_database_clock_tells_utc(sessions):
    from datetime import UTC, datetime

    with sessions() as session:
        assert abs(database_now(session) - datetime.now(UTC)) < timedelta(seconds=5)


def test_metrics_count_jobs_and_age(sessions, new_job, claim):
    from app.jobs.metrics import metrics_text

    claim(new_job())
    new_job()
    with sessions() as session:
        text = metrics_text(session).decode()
    assert 'mixwright_jobs{kind="fit",state="running"} 1.0' in text
    assert 'mixwright_jobs{kind="fit",state="queued"} 1.0' in text
    assert "mixwright_oldest_queued_job_seconds " in text
