"""What a stage leaves behind is collected; what was there before is not looked through."""

import gc
import weakref

from holdfast import inference, memory


class Circle:
    def __init__(self) -> None:
        self.me = self


def test_circles_of_a_stage_are_collected_and_older_ones_wait() -> None:
    gc.collect()
    gc.disable()
    try:
        older = weakref.ref(Circle())
        with memory.given_back():
            found = weakref.ref(Circle())
            with memory.settled():
                inner = weakref.ref(Circle())
            assert gc.get_freeze_count() and found() is not None
        assert found() is None and inner() is None, "also what was made inside"
        assert older() is not None and gc.get_freeze_count() == 0
    finally:
        gc.enable()
    gc.collect()
    assert older() is None


def test_a_batch_has_at_most_so_many_places() -> None:
    lengths = [3, 50, 7, 20, 20, 5, 90]
    assert list(inference.batches_by_length(lengths, 3)) == [[6, 1, 3], [4, 2, 5], [0]]
    assert list(inference.batches_by_length(lengths, 3, 60)) == [[6], [1], [3, 4, 2], [5, 0]]
