from bianhe.consumers.router.cap import Cap
from bianhe.consumers.router.limits import Limits

LIMITS = Limits(quarantine_max=2, quarantine_window=10)


def test_a_window_begins_with_its_first_bad_record_and_takes_so_many_and_no_more() -> None:
    cap = Cap(LIMITS)
    taken = {offset: cap.admits(offset) for offset in (50, 51, 52, 59, 60, 61, 62)}
    assert taken == {50: True, 51: True, 52: False, 59: False, 60: True, 61: True, 62: False}


def test_what_an_aborted_transaction_counted_does_not_count() -> None:
    cap = Cap(LIMITS)
    cap.admits(50)
    cap.commit()
    for _ in range(3):
        assert cap.admits(51)
        cap.abort()


def test_up_to_where_an_administrator_released_it_everything_is_admitted() -> None:
    cap = Cap(LIMITS, released=100)
    assert all(cap.admits(offset) for offset in range(50, 100))
    assert [cap.admits(offset) for offset in (100, 101, 102)] == [True, True, False]
