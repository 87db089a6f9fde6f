"""Answers in the order of the jobs, and none of them lost."""

import pytest

from tracedge.evaluation.processes import in_order


def twice(job: int) -> int:
    if job < 0:
        raise ValueError(f"job {job}")
    return 2 * job


def until(number: int):
    yield from range(number)
    raise OSError("no more jobs")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_an_error_in_making_jobs_loses_no_answer(workers):
    answers = []
    with pytest.raises(OSError, match="no more jobs"):
        for answer in in_order(twice, until(10), workers):
            answers.append(answer)
    assert answers == [2 * job for job in range(10)]


def test_an_error_of_one_job_loses_no_other_answer_that_was_asked_for():
    answers = []
    with pytest.raises(ValueError, match="job -1"):
        for answer in in_order(twice, [0, 1, -1, *range(3, 50)], 2):
            answers.append(answer)
    assert answers[:3] == [0, 2, 6]
    assert len(answers) < 10, "no new jobs after an error"


def test_whoever_stops_listening_ends_the_processes():
    answers = in_order(twice, range(50), 2)
    assert next(answers) == 0
    answers.close()
