"""A circuit for answers in words: which token stands for them, against counting by hand, and what it is found on."""

import pytest
import torch

from holdfast.circuits import examples, reading
from holdfast.decomposition import architectures, whole
from holdfast.errors import BadInput

ROWS = [{"id": f"{n}", "prompt": f"say {n}", "answer": f"it {'xyz'[n % 3]}{n % 2}"} for n in range(24)]


def test_the_place_is_where_known_answers_differ_most(model):
    found = reading.Answers(model("llama"), ROWS, 64)
    assert found.place == 3, "`i`, `t` and the blank are the same everywhere; three letters differ more than two digits"
    assert sorted(found.names) == ["x", "y", "z"] and len(found.rows) == 24
    for row, given in zip(found.rows, ROWS, strict=True):
        said = found.model.tokenizer.decode(row["ids"])
        assert said.endswith(f"say {given['id']}it ") or said.endswith("it "), said
        assert found.names[found.labels.index(row["label"])] == given["answer"][3]


def test_rare_tokens_are_no_labels_and_their_rows_left_out(model):
    rows = [*ROWS, {"id": "99", "prompt": "say", "answer": "it q0"}]
    found = reading.Answers(model("llama"), rows, 64)
    assert sorted(found.names) == ["x", "y", "z"] and "99" not in {row["id"] for row in found.rows}


def test_answers_that_are_all_alike_have_no_circuit(model):
    with pytest.raises(BadInput, match="the known answers differ at no place often enough"):
        reading.Answers(model("llama"), [{**row, "answer": "same"} for row in ROWS], 64)


@pytest.mark.parametrize("shape", ["llama", "qwen2"])
def test_its_logits_are_those_of_the_network_at_that_place(model, shape):
    decoder = model(shape)
    found = reading.Answers(decoder, ROWS, 64)
    parts = architectures.describe(decoder.network, found.columns)
    with torch.no_grad():
        chunks = examples.chunks(
            decoder.network, parts, found.encode(found.rows), found.targets(found.rows), found.columns
        )
        (chunk,) = chunks
        whole.check(parts, whole.run(parts, chunk.packed, False))
        longest_first = sorted(found.rows, key=lambda row: -len(row["ids"]))
        for place, index in enumerate(chunk.packed.order):
            row = longest_first[index]
            logits = decoder.network(input_ids=torch.tensor([row["ids"]])).logits[0, -1]
            assert torch.allclose(chunk.packed.logits[place], logits[found.columns], atol=1e-4)
            assert found.labels[chunk.targets[place]] == row["label"]
        right = found.right(found.rows)
        for row, said in zip(found.rows, right, strict=True):
            logits = decoder.network(input_ids=torch.tensor([row["ids"]])).logits[0, -1]
            assert said == (str(int(logits.argmax())) == row["label"])
