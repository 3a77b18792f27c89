import pytest

from api.limits import InProcessLimiter, Limit, Limiter, RedisLimiter, Unlimited, create_limiter

FIVE_A_MINUTE = Limit(5, 60)


class Ticks:
    def __init__(self) -> None:
        self.now = 1_000_020.0  # a third into a window of a minute

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture(params=["in-process", pytest.param("redis", marks=pytest.mark.redis)])
def limiter(request: pytest.FixtureRequest, ticks: Ticks) -> Limiter:
    if request.param == "in-process":
        return InProcessLimiter(ticks)
    return RedisLimiter(request.getfixturevalue("redis_url"), ticks)


def test_the_sixth_of_five_must_wait(limiter: Limiter, request: pytest.FixtureRequest) -> None:
    key = request.node.name

    waits = [limiter.wait(key, FIVE_A_MINUTE) for _ in range(6)]

    assert waits[:5] == [0] * 5
    assert 0 < waits[5] <= 60


def test_callers_are_counted_apart(limiter: Limiter, request: pytest.FixtureRequest) -> None:
    for _ in range(6):
        limiter.wait(f"{request.node.name} one", FIVE_A_MINUTE)

    assert limiter.wait(f"{request.node.name} other", FIVE_A_MINUTE) == 0


def test_a_new_window_does_not_forget_the_old_one_at_once(
    limiter: Limiter, ticks: Ticks, request: pytest.FixtureRequest
) -> None:
    key = request.node.name
    for _ in range(5):
        limiter.wait(key, FIVE_A_MINUTE)

    ticks.now += 40  # the window has just changed
    assert limiter.wait(key, FIVE_A_MINUTE) > 0 or limiter.wait(key, FIVE_A_MINUTE) > 0

    ticks.now += 120
    assert limiter.wait(key, FIVE_A_MINUTE) == 0


def test_with_redis_away_the_desk_stays_open() -> None:
    away = RedisLimiter("redis://127.0.0.1:1")

    assert away.wait("anybody", Limit(0, 60)) == 0


def test_limits_can_be_switched_off_for_load_tests() -> None:
    assert isinstance(create_limiter(enabled=False, redis_url=None), Unlimited)
    assert isinstance(create_limiter(enabled=True, redis_url=None), InProcessLimiter)
    assert isinstance(create_limiter(enabled=True, redis_url="redis://x"), RedisLimiter)
