"""What a user would pick instead, at its best setting: transformers' Trainer, PEFT under it, and trl's SFTTrainer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.speed import world

Kwargs = dict[str, Any]


def quiet() -> None:
    """Keep libraries from talking."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def arguments(epochs: float, seed: int, rate: float, grouped: bool) -> Kwargs:
    """Return what all trainers are told: Holdfast's defaults, nothing written on the way, all the speed there is."""
    return {
        "output_dir": tempfile.mkdtemp(prefix="rival-"),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": world.BATCH,
        "learning_rate": rate,
        "weight_decay": 0.01,
        "seed": seed,
        "bf16": True,
        "use_cpu": True,
        "optim": "adamw_torch_fused",
        "train_sampling_strategy": "group_by_length" if grouped else "random",
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def classifier(
    epochs: float,
    seed: int,
    rate: float,
    *,
    grouped: bool,
    moving: str | None = None,
    lora: bool = False,
    count: int = 500,
) -> Any:
    """Train MiniLM on NusaX English and save it; `moving` is a regex of what may move (default: everything).

    The trainer that is returned says in `trained` how many seconds its epochs took.
    """
    import re

    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    rows = world.nusax("train")[:count]
    set_seed(seed)
    words = AutoTokenizer.from_pretrained(world.encoder_folder())
    network = AutoModelForSequenceClassification.from_pretrained(world.encoder_folder(), num_labels=len(world.LABELS))
    if moving is not None:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(bool(re.search(moving, name)))
    if lora:
        from peft import LoraConfig, get_peft_model

        network = get_peft_model(
            network, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
        )
    table = Dataset.from_dict(
        {"text": [r["text"] for r in rows], "labels": [world.LABELS.index(r["label"]) for r in rows]}
    )
    table = table.map(
        lambda part: words(part["text"], truncation=True, max_length=world.LENGTH),
        batched=True,
        remove_columns=["text"],
    )
    told = TrainingArguments(**arguments(epochs, seed, rate, grouped))
    trainer: Any = Trainer(network, told, train_dataset=table, data_collator=DataCollatorWithPadding(words))
    trainer.trained = trainer.train().metrics["train_runtime"]
    trainer.save_model()
    return trainer


def accuracy(trainer: Any) -> float:
    """Return a trained classifier's accuracy on the 400 test rows, in bf16 as ours."""
    import torch

    words, network = trainer.data_collator.tokenizer, trainer.model.eval()
    rows, right = sorted(world.nusax("test"), key=lambda row: len(row["text"])), 0
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for first in range(0, len(rows), 32):
            part = rows[first : first + 32]
            inputs = words(
                [r["text"] for r in part], truncation=True, max_length=world.LENGTH, padding=True, return_tensors="pt"
            )
            said = network(**inputs).logits.argmax(-1).tolist()
            right += sum(world.LABELS[s] == r["label"] for s, r in zip(said, part, strict=True))
    return right / len(rows)


def decoder(folder: Path, epochs: float, seed: int, rate: float, count: int, how: str) -> Any:
    """Train LoRA on a decoder with trl: `how` is padded, grouped or packed. Packed, the updates are as many."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
    from trl import SFTConfig, SFTTrainer

    rows = world.gsm8k(count)
    set_seed(seed)
    words = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder)
    table = Dataset.from_list([{"prompt": r["prompt"], "completion": " " + r["answer"]} for r in rows])
    told = arguments(epochs, seed, rate, how == "grouped")
    if how == "packed":
        tokens = sum(len(words(r["prompt"] + r["answer"])["input_ids"]) for r in rows)
        told |= {"packing": True, "per_device_train_batch_size": max(1, round(world.BATCH * tokens / count / 512))}
    config = SFTConfig(**told, max_length=512 if how == "packed" else 1024, gradient_checkpointing=False)
    adapters = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer = SFTTrainer(network, config, train_dataset=table, processing_class=words, peft_config=adapters)
    trainer.train()
    trainer.save_model()
    return trainer
