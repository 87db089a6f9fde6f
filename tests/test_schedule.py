import pytest

from tracedge.schedule import share_at


def test_the_rate_rises_holds_and_falls():
    shares = [share_at(step, 100, warmup=10, cooldown=0.2) for step in range(100)]
    assert shares[0] == pytest.approx(0.1) and shares[9:81] == [1.0] * 72
    assert shares[90] == pytest.approx(0.5) and shares[99] == pytest.approx(0.05)


def test_without_warmup_and_cooldown_the_rate_is_level():
    assert [share_at(step, 5, warmup=0, cooldown=0.0) for step in range(5)] == [1.0] * 5
