"""The boundary between prompt and answer is exact, the end of the turn is learned, and nothing is cut in silence."""

import pytest

from holdfast.errors import BadInput
from holdfast.generation import chat, encoding
from holdfast.generation.encoding import IGNORED, Encoder

from .conftest import TEMPLATE, tokenizer


def decode(words, ids) -> str:
    return words.decode(list(ids))


def test_without_a_template_it_is_the_prompt_a_newline_the_answer():
    words = tokenizer()
    found = Encoder(words).pair("2 + 2?", "4")
    assert decode(words, found.input_ids) == "2 + 2?\n4</s>"
    assert decode(words, [i for i in found.labels if i != IGNORED]) == "4</s>"


def test_with_a_template_the_answer_ends_with_the_template_s_own_token():
    words = tokenizer(TEMPLATE)
    found = Encoder(words).pair("2 + 2?", "4")
    assert decode(words, found.input_ids) == "<s><user>2 + 2?<model>4<stop>"
    assert [i != IGNORED for i in found.labels] == [False] * (len(found.labels) - 2) + [True, True]
    assert words.decode([chat.end_of_turn(words)]) == "<stop>" and Encoder(words).stops == tuple(
        words.convert_tokens_to_ids(["<stop>", "</s>"])
    )


def test_the_boundary_is_exact_where_joint_tokens_reach_over_it():
    words = tokenizer()
    prompt, answer = "what?", "an ant"
    joint = words(f"{prompt}\n{answer}")["input_ids"]
    assert words.convert_tokens_to_ids("\na") in joint  # tokenised jointly, the newline and the answer's a are one
    found = Encoder(words).pair(prompt, answer)
    assert list(found.input_ids) != [*joint, words.eos_token_id]
    first = next(i for i, label in enumerate(found.labels) if label != IGNORED)
    assert list(found.input_ids[:first]) == words(f"{prompt}\n")["input_ids"] == Encoder(words).prompt(prompt)
    assert list(found.input_ids[first:]) == [*words(answer)["input_ids"], words.eos_token_id]
    assert found.labels[first:] == found.input_ids[first:] and set(found.labels[:first]) == {IGNORED}


def test_a_bos_token_comes_once_with_and_without_a_template():
    from tokenizers import processors

    for template in (None, TEMPLATE):
        words = tokenizer(template)
        bos = words.bos_token_id
        words.backend_tokenizer.post_processor = processors.TemplateProcessing(
            "<s> $A </s>", special_tokens=[("<s>", bos), ("</s>", words.eos_token_id)]
        )
        ids = Encoder(words).pair("hi", "ho").input_ids
        assert ids[0] == bos and ids.count(bos) == 1
        assert ids.count(words.eos_token_id) == (template is None)
        assert Encoder(words).text("hi").input_ids.count(bos) == 1


def test_a_tokenizer_without_an_end_is_refused():
    words = tokenizer()
    words.eos_token = None
    with pytest.raises(BadInput, match="no token that ends an answer"):
        Encoder(words)


def test_an_answer_is_never_cut_off():
    encoder = Encoder(tokenizer(), max_length=10, cut_prompt=True)
    with pytest.raises(BadInput, match="row 3: the answer has 13 tokens and would be cut off"):
        encoder.pair("a", "b" * 12, row=3)


def test_a_long_prompt_is_refused_unless_it_may_be_cut():
    with pytest.raises(BadInput, match=r"row 8: the prompt has 31 tokens and its answer needs 3.*at most 20"):
        Encoder(tokenizer(), max_length=20).pair("x" * 30, "yy", row=8)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_a_cut_prompt_loses_its_oldest_characters_and_keeps_the_template(template):
    words = tokenizer(template)
    text = " ".join(f"word{i}" for i in range(20))
    found = Encoder(words, max_length=40, cut_prompt=True).pair(text, "yes")
    assert len(found.input_ids) == 40
    said = decode(words, found.input_ids)
    whole = decode(words, Encoder(words).pair(text, "yes").input_ids)
    opening, closing = ("<s><user>", "<model>yes<stop>") if template else ("", "\nyes</s>")
    assert said.startswith(opening) and said.endswith(closing)
    assert whole.endswith(said.removeprefix(opening))
    assert decode(words, [i for i in found.labels if i != IGNORED]) == closing.lstrip("\n").removeprefix("<model>")


def test_a_prompt_cut_where_merges_change_still_fits():
    words = tokenizer()
    text = "the the the the the the"
    for length in range(4, 16):
        found = Encoder(words, max_length=length, cut_prompt=True).pair(text, "a")
        assert 3 < len(found.input_ids) <= length
    with pytest.raises(BadInput, match="nothing of the prompt would be left"):
        Encoder(words, max_length=3, cut_prompt=True).pair(text, "a")


def test_stacked_rows_are_padded_on_either_side():
    rows = [encoding.Encoded((5, 6, 7), (IGNORED, 6, 7)), encoding.Encoded((8,), (8,))]
    left, right = encoding.stack(rows, "left"), encoding.stack(rows)
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]] and left["input_ids"].tolist() == [
        [5, 6, 7],
        [0, 0, 8],
    ]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert right["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]
    assert left["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED, IGNORED, 8]]
