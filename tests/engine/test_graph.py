"""Work that is recorded and launched again; recording itself is CUDA's and is pretended here."""

import logging

import pytest
import torch

import mambaseg.graph as under_test
from mambaseg.graph import Replay


@pytest.fixture
def recorder(monkeypatch):
    """Recording that runs nothing, and a launch that does; `events` says what happened."""
    events = []

    def record(run):
        events.append("record")
        result = run()
        return lambda: (events.append("launch"), result.copy_(run())), result

    monkeypatch.setattr(under_test, "warm_up", lambda run: (events.append("warm up"), run())[1])
    monkeypatch.setattr(under_test, "record", record)
    return events


def test_it_warms_up_then_records_then_only_launches(recorder):
    memory = torch.zeros(3)
    replay = Replay(lambda: memory * 2)
    for value in (1.0, 2.0, 3.0):
        memory.fill_(value)
        assert replay().tolist() == [2 * value] * 3
    assert recorder == ["warm up", "record", "launch", "launch"]


def test_where_nothing_can_be_recorded_it_runs_as_it_is_and_says_so_once(recorder, monkeypatch, caplog):
    monkeypatch.setattr(under_test, "_failed", [])

    def refuse(run):
        under_test._failed.append("a graph")
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    monkeypatch.setattr(under_test, "record", refuse)
    memory = torch.ones(3)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            replay = Replay(lambda: memory * 2)
            assert [replay().tolist() for _ in range(3)] == [[2.0] * 3] * 3
    assert [record.message for record in caplog.records] == [
        "the network runs without a CUDA graph: operation not permitted when stream is capturing"
    ]


def test_an_error_of_the_first_run_is_not_hidden(recorder):
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Replay(full)()
