"""Which arms run on which part of the benchmark."""

CIRCUITS = ("ct-sft", "ct-sft:parameters.circuit.kind=near-zero")
DRAWS = tuple(f"ct-sft:parameters.circuit={{kind: random, draw: {draw}}}" for draw in range(5))
SELECTIONS = ("layernorm", "fish", "spt", "diff-pruning", "selective-layers", "file")
ADDED = ("lora", "dora", "pissa", "corda", "osf", "ia3", "houlsby", "prefix", "prompt")
ANCHORS = ("ewc", "lwf", "l2sp")
OBJECTIVES = (
    "psft", "target-sft", "dft", "p-loss", "beyond-log", "profit", "eaft", "cft", "iw-sft", "focal", "label-smoothing",
    "asft", "gem",
)  # fmt: skip
TEXTS = ("sft:examples=domain-text", "sft:examples=pseudo-labels")
_OWN = ("s3ft", "s3ft-wide", "sdft", "self-only", "self-else-gold", "gold-on-self-subset")


def _prompted(names: tuple[str, ...], root: str) -> tuple[str, ...]:
    """Return arms with the prompt that the bundled decoder was made to understand; `root` leads there from the file."""
    prompt = f"examples.self.paraphrase={root}/data/base_model/paraphrase.txt+examples.self.max_new_tokens=48"
    return tuple(f"{name}:{prompt}" for name in names)


EVERY = (*CIRCUITS, *DRAWS, *SELECTIONS, *ADDED, *ANCHORS, *OBJECTIVES, "ulmfit", *TEXTS)
MADE = ("ct-sft", "layernorm", "fish", "file", "lora", *ANCHORS, "psft", "target-sft", "dft", "asft", "ulmfit")
GENERATION = (*_prompted(_OWN, ".."), "ct-sft", "layernorm", "lora", "ewc", "psft", "target-sft", "dft", "asft")
RESTYLED = ("sft", *_prompted(("s3ft", "sdft", "self-else-gold"), "../.."))  # of one question, without baselines
EQUAL_SIZE = ("sft", "ct-sft", "lora:parameters.lora.share=0.0612")  # LoRA with as many weights as the circuit
BEST = 8
