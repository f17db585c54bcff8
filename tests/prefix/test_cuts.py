"""Where a network can be cut, and that a choice which says that nothing lies below it is right."""

import pytest

from holdfast import choices, models
from holdfast.prefix import cut
from holdfast.selection import Selection, attach

CUTS = {
    "top": (["bert.encoder.layer.1.output."], 1),
    "pooler": (["bert.pooler."], 1),
    "both": (["bert.encoder.layer.0.", "bert.encoder.layer.1."], 0),
    "embeddings": (["bert.embeddings.word"], 0),
}


@pytest.mark.parametrize("name", list(CUTS))
def test_the_cut_is_the_lowest_layer_that_moves(name, tiny_start, home) -> None:
    stems, wanted = CUTS[name]
    model = models.load(tiny_start, home)
    moving = [n for n in model.encoder_parameters() if n.startswith(tuple(stems))]
    assert cut.of(model, [*moving, "classifier.weight"]) == wanted
    assert cut.lowest(model, moving).startswith(stems[0])


def test_an_unknown_architecture_is_not_cut(tiny_start, home) -> None:
    model = models.load(tiny_start, home)
    model.network.config.model_type = "unheard-of"
    assert cut.of(model, ["bert.encoder.layer.1.output.dense.weight"]) == 0


@pytest.mark.parametrize("name", ["full", "layernorm", "embeddings", "ia3", "houlsby", "prefix", "prompt", "lora"])
def test_where_a_choice_says_nothing_lies_below_there_is_no_cut(name, tiny_start, home) -> None:
    module = choices.load("parameters", name)
    model = models.load(tiny_start, home)
    chosen: Selection = module.select(model, None, module.Options())
    attach(model, chosen)
    moving = [n for n, p in model.network.named_parameters() if p.requires_grad]
    assert "nothing" in module.BELOW and cut.of(model, moving) == 0


def test_an_adapter_in_the_upper_layers_alone_leaves_the_lower_ones_below(tiny_start, home) -> None:
    module, model = choices.load("parameters", "lora"), models.load(tiny_start, home)
    attach(model, module.select(model, None, module.Options(layers=(-1,))))
    assert cut.of(model, [n for n, p in model.network.named_parameters() if p.requires_grad]) == 1
