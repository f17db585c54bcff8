"""transformers' `Trainer` with its batches, loss, schedule and checkpoints replaced by ours.

What stays is its loop: epochs, steps, clipping, the order of optimiser and scheduler, resuming in mid-epoch. Imports
transformers, so it is imported inside functions only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from holdfast import inference, rows
from holdfast.errors import Diverged, HoldfastError
from holdfast.generation import decoders, encoding, likelihood
from holdfast.training import batches, checkpoints, compiled, dropout, modes, processes, randomness, rates, restoring
from holdfast.training.forward import Forward, TokenForward

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.spec import Training
    from holdfast.training.job import Job

EXPLODED = 100.0


class TuningTrainer(Trainer):
    """Runs a `Job`. Raises `Diverged` at the step whose loss or gradient is not finite, or exploded."""

    optimizer: Any
    lr_scheduler: Any
    control: Any

    def __init__(self, job: Job) -> None:
        self.job = job
        super().__init__(model=job.model.network, args=_arguments(job))
        self.remove_callback(PrinterCallback)
        self.add_callback(_Rhythm(self))
        self._terms: dict[str, float] = {}
        self._share = 1.0
        self._layers = compiled.Layers(job.model, job.training.compile)
        self._dropout = dropout.Dropout(job.model.network, job.training.seed + processes.number())

    # What a step learns from, and its loss

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        """Return the loader over the epoch's batches; it draws from no global generator."""
        return torch.utils.data.DataLoader(
            range(len(self.job.pool.examples)),  # type: ignore[arg-type]
            batch_sampler=self.job.batches,
            collate_fn=lambda positions: batches.collate(self.job.model, self.job.pool, positions),
            generator=torch.Generator().manual_seed(self.job.training.seed),
        )

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Add up the gradients of the batch's parts, each weighted by its share of the rows; return the batch's loss.

        A part is no update: what counts updates (`state.global_step`) sees the whole batch as one. Which modules train
        was said when the epoch began.
        """
        terms: dict[str, float] = {}
        total = torch.zeros((), device=self.args.device)
        with self._dropping(), self._layers.while_training():
            parts = batches.parts(inputs, self.job.training.accumulate * processes.count())
            for part, share in processes.own(parts):
                self._share = share
                loss = self.compute_loss(model, self._prepare_inputs(part))
                self.accelerator.backward(loss)
                total += loss.detach()
                terms = {name: terms.get(name, 0.0) + share * value for name, value in self._terms.items()}
        processes.add_up_gradients(list(self.job.slices.stepped.values()))
        self._terms = processes.add_up(terms)
        return processes.total(total)

    def _dropping(self) -> AbstractContextManager[None]:
        # What is computed again in the backward pass must drop the same: torch sees to that for its own dropout only.
        # Nor can draws that torch does not make be compiled.
        training = self.job.training
        own = self.args.device.type == "cpu" and not training.gradient_checkpointing and not training.compile
        return self._dropout.drawing(self.state.global_step) if own else nullcontext()

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the part's mean loss plus the anchors' penalties, a scalar, times its share of the batch."""
        batch = self._forward(inputs)
        losses, figures = self.job.objective(batch)
        loss = losses.mean()
        self._terms = {"objective": loss.item(), **{name: found.mean().item() for name, found in figures.items()}}
        for name, anchor in self.job.anchors.items():
            penalty = anchor(batch)
            self._terms[name] = penalty.item()
            loss = loss + penalty
        self._check(loss.item(), "loss")
        return self._share * loss

    def _forward(self, inputs: dict[str, Any]) -> Forward:
        positions = inputs.pop("positions").tolist()
        job = self.job
        found = (TokenForward if job.model.generates else Forward)(
            job.model,
            job.pool,
            inputs,
            positions,
            step=self.state.global_step,
            precision=job.training.precision,
            load=self._load,
            kept=job.kept,
            packs=self._packs(),
        )
        tokens = sum(job.pool.lengths[position] for position in positions)
        job.curve.tokens += tokens
        job.curve.padding += found.places - tokens
        return found

    def _packs(self) -> bool:
        # A layer that is compiled, or computed again in the backward pass, must be the network's own.
        training = self.job.training
        own = not training.compile and not training.gradient_checkpointing
        return training.packing if self.job.model.generates else own

    def _load(self, positions: Sequence[int]) -> dict[str, Tensor]:
        inputs: dict[str, Tensor] = self._prepare_inputs(batches.collate(self.job.model, self.job.pool, positions))
        inputs.pop("positions")
        return inputs

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip as `clip_grad_norm_` does, but do not multiply by 1 where there is nothing to clip."""
        stepped = list(self.job.slices.stepped.values())
        norm = torch.nn.utils.get_total_norm([p.grad for p in stepped if p.grad is not None])
        self._check(float(norm), "gradient norm", explodes=False)
        if self.args.max_grad_norm / (float(norm) + 1e-6) < 1:
            torch.nn.utils.clip_grads_with_norm_(stepped, self.args.max_grad_norm, norm)
        return norm

    def _check(self, value: float, what: str, explodes: bool = True) -> None:
        first = self.job.curve.steps[0]["loss"] if self.job.curve.steps else value
        exploded = explodes and value > EXPLODED * max(1.0, abs(first))
        if math.isfinite(value) and not exploded:
            return
        raise Diverged(
            f"tuning diverged at step {self.state.global_step + 1}: the {what} is {value:.6g}; "
            f"{checkpoints.kept(self.job.root)}. Lower training.learning_rate, or the strength of the anchors."
        )

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: nobody reads this count, and the stock one walks through all parameters at every step."""
        return 0

    # How steps are taken

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names that weight decay applies to: no norms, no biases, nothing partly frozen."""
        return sorted(self.job.decayed)

    def create_optimizer(self, model: nn.Module | None = None) -> Any:
        """Make AdamW with a group per depth."""
        if self.optimizer is None:
            training = self.job.training
            decayed = set(self.get_decay_parameter_names(self.model))
            self.optimizer = rates.optimizer(
                self.job.slices.stepped, self.job.schedule, training.learning_rate, training.weight_decay, decayed
            )
            self.job.slices.follow(self.optimizer)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Make the scheduler of the chosen time shape."""
        if self.lr_scheduler is None:
            self.lr_scheduler = rates.scheduler(optimizer or self.optimizer, self.job.schedule, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def begin_epoch(self) -> None:
        """Choose the epoch's batches, what is still frozen in it, and which modules run in eval mode."""
        epoch = self.state.global_step // len(self.job.batches)
        self.job.batches.epoch = epoch
        waiting = self.job.schedule.frozen(epoch)
        for name, parameter in self.job.moving.items():
            parameter.requires_grad_(name not in waiting)
        network, sure = self.job.model.network, self.job.objective.older is not None
        modes.train(self.job.model, list(network.modules()) if sure else modes.frozen_modules(self.job.model))

    # What is recorded

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add a step to the curve and report progress; the closing summary, which holds times, is dropped."""
        if "loss" in logs:
            step, epoch = self.state.global_step, float(self.state.epoch or 0.0)
            entry = {"step": step, "epoch": epoch, **self._terms, **logs}
            self.job.curve.steps.append(entry)
            if self.job.progress:
                self.job.progress(step, self.state.max_steps, dict(logs))
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return loss and accuracy on `learn.valid`, put them into the curve, and decide about stopping."""
        metrics = _score(self.job)
        step, epoch = self.state.global_step, float(self.state.epoch or 0.0)
        self.job.curve.valid.append({"step": step, "epoch": epoch, **metrics})
        self.job.stopping.see(metrics["loss"], step, self.job.moving)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        if self.job.stopping.exhausted:
            self.control.should_training_stop = True
        return metrics

    # Checkpoints, without pickles

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self.job.moving.values()):
            raise Diverged(
                f"tuning diverged at step {self.state.global_step}: weights are not finite; "
                f"{checkpoints.kept(self.job.root)}. Lower training.learning_rate."
            )
        if processes.number() > 0:
            return
        tensors, documents = restoring.capture(self.job, self.optimizer, self.lr_scheduler)
        documents["trainer_state"] = dataclasses.asdict(self.state)
        checkpoints.write(self.job.root, self.state.global_step, tensors, documents, self.job.allowed)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        restoring.weights(self.job, _opened(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restoring.steps(self.job, _opened(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            found = _opened(checkpoint)
            randomness.restore(found.tensors("random"), found.document("random_states"))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """There is none: bf16 needs no loss scaling."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Refused: `adapters.write` writes what tuning made."""
        raise HoldfastError("a tuned model is written by holdfast.adapters, not by the trainer")


class _Rhythm(TrainerCallback):
    """Logs every step, evaluates at the end of every epoch, writes checkpoints as often as asked."""

    def __init__(self, trainer: TuningTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        if trainer.job.adjuster is not None:
            trainer.job.adjuster.before_step(trainer.optimizer, trainer.lr_scheduler.get_last_lr())

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.begin_epoch()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        job = self.trainer.job
        epoch = len(job.batches)
        every = max(1, math.ceil(epoch / job.training.checkpoints_per_epoch))
        inside, last = state.global_step % epoch, state.global_step >= state.max_steps
        control.should_log = True
        control.should_evaluate = inside == 0 or last
        control.should_save = inside % every == 0 or last


def _opened(folder: str) -> checkpoints.Checkpoint:
    path = Path(folder)
    return checkpoints.Checkpoint(int(path.name.rpartition("-")[2]), path)


def _arguments(job: Job) -> TrainingArguments:
    training = job.training
    arguments = TrainingArguments(
        output_dir=str(job.root),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        max_grad_norm=training.clip,
        seed=training.seed,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        use_cpu=job.model.network.device.type == "cpu",
        activation_checkpointing=training.gradient_checkpointing,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _compute(training: Training) -> likelihood.Compute:
    return likelihood.Compute(precision=training.precision)


def _score(job: Job) -> dict[str, float]:
    """Return the mean cross entropy and the accuracy on the validation rows; of answers, that of their tokens alone."""
    training = job.training
    if job.model.generates:
        encoder = encoding.Encoder(job.model.tokenizer, decoders.window(job.model))
        encoded = [encoder.pair(row["prompt"], row["answer"], number) for number, row in enumerate(job.valid, 1)]
        return {"loss": likelihood.nll(likelihood.of_tokens(job.model, encoded, _compute(training)))}
    logits: np.ndarray = inference.logits(
        job.model,
        rows.texts(job.valid),
        max_length=training.max_length,
        precision=training.precision,
        prefix=job.prefix,
    ).astype(np.float64)
    labels = np.asarray(rows.label_ids(job.valid, job.model.labels))
    shifted = logits - logits.max(1, keepdims=True)
    right = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(1))
    return {"loss": float(-right.mean()), "accuracy": float((logits.argmax(1) == labels).mean())}
