"""States on disk: in bounded shards, whole or absent, verified, evicted by last use."""

import os

import pytest
import torch

from holdfast.prefix import shards

KEY = {"model": "m", "cut": 1}


def rows(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[tuple[int, torch.Tensor]]:
    made = torch.Generator().manual_seed(seed)
    found = [(number, torch.randn(2 + number % 3, 4, generator=made).to(dtype)) for number in range(count)]
    return found[::-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_come_back_as_they_were_from_shards_of_bounded_size(tmp_path, monkeypatch, dtype) -> None:
    monkeypatch.setattr(shards, "SHARD", 200)
    made = rows(10, dtype=dtype)
    place = shards.write(tmp_path, KEY, made, 10)
    assert len(list(place.glob("?.safetensors"))) > 1
    assert all(states.nbytes <= 200 for states in shards.read(tmp_path, KEY).shards)
    found = shards.read(tmp_path, KEY)
    for number, states in made:
        assert found.row(number).dtype == dtype and torch.equal(found.row(number), states)


def test_padding_stands_on_the_side_that_is_asked_for(tmp_path) -> None:
    shards.write(tmp_path, KEY, rows(3), 3)
    found = shards.read(tmp_path, KEY)
    right, left = (found.padded([2, 0], 6, side) for side in ("right", "left"))
    assert right.dtype == torch.float32 and torch.equal(right[0, :4], found.row(2)) and not right[0, 4:].any()
    assert torch.equal(right[1, :2], found.row(0)) and not right[1, 2:].any()
    assert torch.equal(left[0, 2:], found.row(2)) and torch.equal(left[1, 4:], found.row(0)) and not left[1, :4].any()


def test_two_sets_of_rows_are_one(tmp_path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        shards.write(tmp_path, {"model": name}, rows(4, seed), 4)
    one, other = (shards.read(tmp_path, {"model": name}) for name in "ab")
    both = one + other
    assert torch.equal(both.row(3), one.row(3)) and torch.equal(both.row(5), other.row(1))


def test_another_key_is_not_found_and_a_damaged_file_is_removed(tmp_path) -> None:
    place = shards.write(tmp_path, KEY, rows(3), 3)
    assert shards.read(tmp_path, {**KEY, "cut": 2}) is None
    assert shards.read(tmp_path, KEY) is not None
    data = bytearray((place / "0.safetensors").read_bytes())
    data[-1] ^= 1
    (place / "0.safetensors").write_bytes(data)
    assert shards.read(tmp_path, KEY) is None
    assert not place.exists()


def test_what_was_not_used_for_longest_goes_first(tmp_path) -> None:
    places = []
    for number in range(3):
        places.append(shards.write(tmp_path, {"model": number}, rows(3), 3))
        os.utime(places[-1], (number, number))
    shards.read(tmp_path, {"model": 0})
    size = sum(file.stat().st_size for file in places[0].iterdir())
    shards.make_room(tmp_path, size, 3 * size)
    assert [place.exists() for place in places] == [True, False, True]
    shards.make_room(tmp_path, 0, 3 * size)
    assert [place.exists() for place in places] == [True, False, True]
