from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from artfs.vfs.draft.intervals import Intervals

ranges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda r: (min(r), max(r)))
edits = st.lists(st.tuples(st.booleans(), ranges), max_size=20)


@given(edits=edits, window=ranges)
def test_it_is_the_set_of_numbers_that_it_says(
    edits: list[tuple[bool, tuple[int, int]]], window: tuple[int, int]
) -> None:
    found, expected = Intervals(), set[int]()
    for is_added, (start, end) in edits:
        if is_added:
            found.add(start, end)
            expected |= set(range(start, end))
        else:
            found.remove(start, end)
            expected -= set(range(start, end))
    assert {n for start, end in found for n in range(start, end)} == expected
    in_window = {n for start, end in found.within(*window) for n in range(start, end)}
    assert in_window == expected & set(range(*window))


@given(edits=edits)
def test_ranges_are_sorted_and_neither_overlap_nor_touch(
    edits: list[tuple[bool, tuple[int, int]]],
) -> None:
    found = Intervals()
    for is_added, (start, end) in edits:
        (found.add if is_added else found.remove)(start, end)
    flat = [n for each in found for n in each]
    assert flat == sorted(set(flat))


def test_two_ranges_that_touch_become_one() -> None:
    assert list(Intervals([(0, 5), (10, 15), (5, 10)])) == [(0, 15)]
