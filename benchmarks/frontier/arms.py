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
_PROMPT = "examples.self.paraphrase=../data/base_model/paraphrase.txt+examples.self.max_new_tokens=48"
_OWN = ("s3ft", "s3ft-wide", "sdft", "self-only", "self-else-gold", "gold-on-self-subset")
OWN_WORDS = tuple(f"{name}:{_PROMPT}" for name in _OWN)  # the prompt that the bundled decoder was made to understand

EVERY = (*CIRCUITS, *DRAWS, *SELECTIONS, *ADDED, *ANCHORS, *OBJECTIVES, "ulmfit", *TEXTS)
MADE = ("ct-sft", "layernorm", "fish", "file", "lora", *ANCHORS, "psft", "target-sft", "dft", "asft", "ulmfit")
GENERATION = (*OWN_WORDS, "ct-sft", "layernorm", "lora", "ewc", "psft", "target-sft", "dft", "asft")
RESTYLED = tuple(arm for arm in OWN_WORDS if not arm.startswith("s3ft-wide"))
BEST = 8
