"""A tiny random decoder of every shape, two tokenizers, and the real stories260K turned into a folder."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast import bases
from holdfast.generation import decoders, encoding
from holdfast.home import Home
from holdfast.models import Model
from holdfast.records import Start
from holdfast.training import batches, forward
from holdfast.training.pool import Example, Pool

SHAPES = ("llama", "qwen2", "qwen3", "gpt2", "mistral")
CHARACTERS = [chr(i) for i in range(32, 127)]
SPECIAL = ["<pad>", "<s>", "</s>", "<user>", "<model>", "<stop>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}{% else %}"
    "<model>{{ m.content }}<stop>{% endif %}{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}


def tokenizer(template: str | None = None):
    """A BPE tokenizer over printable ASCII with a few merges, one of which reaches over a newline."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    merges = [("\n", "a"), ("t", "h"), ("th", "e"), ("a", "n"), ("1", "2")]
    pieces = [*SPECIAL, "\n", *CHARACTERS, *("".join(pair) for pair in merges)]
    made = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges))
    made.decoder = decoders.Fuse()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    more = ["<user>", "<model>", "<stop>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=made, **names, additional_special_tokens=more, chat_template=template
    )


def network(shape: str, vocabulary: int, **changed):
    """A random decoder of one of `SHAPES`."""
    import transformers

    torch.manual_seed(1)
    if shape == "gpt2":
        size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.3}
        config = transformers.GPT2Config(vocab_size=vocabulary, **(size | changed))
    else:
        own = {"qwen3": {"head_dim": 8}, "mistral": {"sliding_window": 12}}.get(shape, {})
        kind = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "mistral": "Mistral"}[shape]
        config = getattr(transformers, f"{kind}Config")(vocab_size=vocabulary, **(SMALL | own | changed))
    return transformers.AutoModelForCausalLM.from_config(config)


def build_folder(place: Path, shape: str, template: str | None = None, **changed) -> Path:
    """Make the folder of a random decoder."""
    words = tokenizer(template)
    words.save_pretrained(place)
    net = network(shape, len(words), **changed)
    net.generation_config.repetition_penalty = 1.7  # what a folder says about sampling must not be followed
    net.save_pretrained(place)
    return place


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    """Return `build_folder`."""
    return build_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Callable[..., Path]:
    """Return a function that makes (once) the folder of a base of some shape."""
    made: dict[tuple, Path] = {}

    def build(shape: str, template: str | None = None) -> Path:
        if (shape, template) not in made:
            made[shape, template] = build_folder(tmp_path_factory.mktemp(shape), shape, template)
        return made[shape, template]

    return build


@pytest.fixture(scope="session")
def start(folder) -> Callable[..., Start]:
    """Return a function from a shape to its start model."""

    def build(shape: str = "llama", template: str | None = None) -> Start:
        place = str(folder(shape, template))
        return Start(model=place, base=bases.resolve(place))

    return build


@pytest.fixture
def model(start, home: Home) -> Callable[..., Model]:
    """Return a function from a shape to the loaded decoder."""
    return lambda shape="llama", template=None: decoders.load(start(shape, template), home)


@pytest.fixture(scope="session")
def stories(real_data: Path, tmp_path_factory) -> Path:
    """A folder with stories260K as a LlamaForCausalLM (format: see the data's README)."""
    source = real_data / "weights" / "stories260K"
    if not source.is_dir():
        pytest.skip("real weights: HOLDFAST_DATA holds no weights/stories260K")
    place = tmp_path_factory.mktemp("stories260K")
    pieces = read_pieces(source / "tok512.bin")
    stories_tokenizer(pieces).save_pretrained(place)
    stories_network(source / "stories260K.bin").save_pretrained(place)
    return place


def read_pieces(path: Path) -> list[tuple[str, float]]:
    """The 512 pieces with their scores."""
    data, at, found = path.read_bytes(), 4, []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        found.append((data[at + 8 : at + 8 + length].decode(), score))
        at += 8 + length
    return found


def stories_tokenizer(pieces: list[tuple[str, float]]):
    """SentencePiece's BPE: the pair whose union has the best score is merged first."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", *(piece for piece, _ in pieces[3:])]
    vocabulary, score = {name: i for i, name in enumerate(names)}, dict(pieces)
    pairs = [(p[:i], p[i:]) for p in names[3:] for i in range(1, len(p))]
    merges = sorted((m for m in pairs if m[0] in vocabulary and m[1] in vocabulary), key=lambda m: -score["".join(m)])
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Prepend(" ")
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def stories_network(path: Path):
    """The weights, rotary pairs turned from adjacent elements to halves."""
    import transformers

    dim, hidden, layers, heads, groups, words, length = struct.unpack_from("<7i", path.read_bytes())
    config = transformers.LlamaConfig(
        vocab_size=words,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    numbers, at = torch.from_numpy(np.fromfile(path, "<f4", offset=28).copy()), 0
    head = dim // heads

    def take(*shape: int) -> torch.Tensor:
        nonlocal at
        at += int(np.prod(shape))
        return numbers[at - int(np.prod(shape)) : at].view(*shape)

    def halves(weight: torch.Tensor) -> torch.Tensor:
        return weight.view(layers, -1, head // 2, 2, dim).transpose(2, 3).reshape(weight.shape)

    kv = groups * head
    state = {"model.embed_tokens.weight": take(words, dim)}
    parts = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": halves(take(layers, dim, dim)),
        "self_attn.k_proj": halves(take(layers, kv, dim)),
        "self_attn.v_proj": take(layers, kv, dim),
        "self_attn.o_proj": take(layers, dim, dim),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    state |= {f"model.layers.{i}.{name}.weight": value[i] for name, value in parts.items() for i in range(layers)}
    state["model.norm.weight"] = take(dim)
    made = transformers.LlamaForCausalLM(config)
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected
    return made


def passes(decoder: Model, rows: list[tuple[str, str]], most: int = 64) -> Callable:
    """A function that makes the forward pass of some rows of (prompt, answer); its `pool` holds them all."""
    encoder = encoding.Encoder(decoder.tokenizer, most)
    encoded = [encoder.pair(*row) for row in rows]
    tokens = tuple({"input_ids": [*one.input_ids], "labels": [*one.labels]} for one in encoded)
    pool = Pool(tuple(Example(prompt, "", 0) for prompt, _ in rows), tokens)

    def load(positions):
        found = batches.collate(decoder, pool, positions)
        found.pop("positions")
        return found

    def make(positions, packs=False):
        given = {"step": 0, "precision": "fp32", "load": load, "packs": packs}
        return forward.TokenForward(decoder, pool, load(positions), positions, **given)

    make.pool = pool
    return make
