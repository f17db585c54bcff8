"""The picture of an evaluation carries no time and no metadata, and survives names that look like markup."""

import struct

import pytest

from holdfast.forgetting import intervals, picture
from holdfast.records import RememberedScore, TargetScore

pytestmark = pytest.mark.pictures


def chunks(png):
    place, names = 8, []
    while place < len(png):
        (length,), name = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        names.append(name)
        place += 12 + length
    return names


def scores(name="english", kept=True):
    target = TargetScore(
        metric="accuracy", before=0.3, after=0.7, gain=0.4, interval=(0.35, 0.45), lower=0.36, positive_flips=180,
        negative_flips=20, n=400,
    )  # fmt: skip
    bound = intervals.drop_upper(8, 6, 400)
    task = RememberedScore(
        name=name, metric="accuracy", before=0.9, after=0.895, drop=0.005, bound=bound, margin=0.05, confidence=0.95,
        kept=kept, positive_flips=6, negative_flips=8, n=400,
    )  # fmt: skip
    return target, (task,)


def test_equal_scores_give_equal_bytes_without_metadata(tmp_path):
    for name in ("a.png", "b.png"):
        picture.draw(*scores(), "start", tmp_path / name)
    png = (tmp_path / "a.png").read_bytes()
    assert png == (tmp_path / "b.png").read_bytes()
    assert not {b"tEXt", b"tIME", b"iTXt", b"zTXt"} & set(chunks(png))


def test_the_picture_tells_kept_from_lost(tmp_path):
    picture.draw(*scores(), "start", tmp_path / "kept.png")
    picture.draw(*scores(kept=False), "start", tmp_path / "lost.png")
    assert (tmp_path / "kept.png").read_bytes() != (tmp_path / "lost.png").read_bytes()


def test_a_name_that_is_no_formula_does_not_break_the_picture(tmp_path):
    picture.draw(*scores(name=r"$\frac{1$ <b>"), "most frequent label", tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 5000
