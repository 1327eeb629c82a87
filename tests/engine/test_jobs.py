"""Jobs: states, cancelling, errors, listeners that fail."""

import logging

import pytest

from mambaseg.jobs import Job, JobCancelled, JobState, Progress


def counting(to=3, closed=None):
    try:
        for step in range(to):
            yield Progress("counting", step + 1, to)
        return to
    finally:
        if closed is not None:
            closed.append(True)


def test_a_job_returns_the_tasks_result_and_reports_each_step():
    job, seen = Job(counting), []
    job.events.progressed.connect(seen.append)
    assert job.run() == 3
    assert [event.step for event in seen] == [1, 2, 3]
    assert job.state is JobState.DONE


def test_a_cancelled_job_lets_the_task_clean_up():
    closed = []
    job = Job(lambda: counting(100, closed))
    job.events.progressed.connect(lambda event: job.cancel() if event.step == 2 else None)
    with pytest.raises(JobCancelled):
        job.run()
    assert (job.state, closed) == (JobState.CANCELLED, [True])


def test_an_error_in_a_background_job_is_kept_for_the_result():
    def failing():
        yield Progress("failing", 1)
        raise KeyError("lost")

    job = Job(failing).start()
    with pytest.raises(KeyError, match="lost"):
        job.result(timeout=10.0)
    assert job.state is JobState.FAILED


def test_a_listener_that_fails_does_not_end_the_job(caplog):
    job = Job(counting)
    job.events.progressed.connect(lambda event: 1 / 0)
    with caplog.at_level(logging.ERROR):
        assert job.run() == 3
    assert "a listener of progressed failed" in caplog.text


def test_a_job_runs_once():
    job = Job(counting)
    job.run()
    with pytest.raises(RuntimeError, match="runs once; this one is already done"):
        job.run()


def test_a_result_that_takes_too_long_times_out():
    with pytest.raises(TimeoutError, match=r"still pending after 0\.01 s"):
        Job(counting).result(timeout=0.01)


def test_a_task_that_was_closed_from_elsewhere_counts_as_cancelled():
    def closed():
        yield Progress("running", 1)
        raise JobCancelled("the engine was closed")

    job = Job(closed)
    with pytest.raises(JobCancelled, match="the engine was closed"):
        job.run()
    assert job.state is JobState.CANCELLED
