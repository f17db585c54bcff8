"""Prompts, answers and texts as token ids, with labels that say which of them are learned or scored.

Prompt and answer are tokenised *separately* and joined. Tokenised jointly, a piece could reach across the boundary (a
newline and the answer's first letter, say): the prompt's last token would then differ from the one that generation
starts from, and a part of the answer would be masked or a part of the prompt learned. Separately, the boundary is exact
for every tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import BadInput
from holdfast.generation import chat

if TYPE_CHECKING:
    import torch

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """A sequence of token ids; `labels` are the same ids where they are learned or scored, else `IGNORED`."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def scored(self) -> int:
        """How many tokens are learned or scored."""
        return sum(label != IGNORED for label in self.labels)


class Encoder:
    """Encodes for one tokenizer, to at most `max_length` tokens.

    A prompt that is too long is an error, or, with `cut_prompt`, loses its oldest characters, the template staying
    whole. An answer is never cut off. `end` is the end-of-turn token, `stops` the tokens that end a generated answer.
    """

    def __init__(self, tokenizer: Any, max_length: int | None = None, cut_prompt: bool = False) -> None:
        self.tokenizer, self.max_length, self.cut_prompt = tokenizer, max_length, cut_prompt
        self.opening, self.end = chat.opening(tokenizer), chat.end_of_turn(tokenizer)
        eos = tokenizer.eos_token_id
        self.stops: tuple[int, ...] = (self.end,) if eos in (None, self.end) else (self.end, int(eos))

    def prompt(self, text: str, room: int = 0, row: int | None = None) -> list[int]:
        """Return the tokens before the answer, leaving `room` tokens for it.

        Raises `BadInput`, naming the row, when they do not fit and may not be cut, or nothing of the text would stay.
        """
        ids = self._rendered(text)
        if self.max_length is None or len(ids) + room <= self.max_length:
            return ids
        if not self.cut_prompt:
            raise self._too_long(f"the prompt has {len(ids)} tokens and its answer needs {room}", row)
        return self._cut(text, len(ids) + room - self.max_length, room, row)

    def pair(self, prompt: str, answer: str, row: int | None = None) -> Encoded:
        """Return prompt, answer and end-of-turn token; the answer and the end-of-turn token are learned.

        Raises `BadInput`, naming the row, when the answer alone is too long, or as `prompt` does.
        """
        said = [*self._ids(answer), self.end]
        if self.max_length is not None and len(said) >= self.max_length:
            raise self._too_long(f"the answer has {len(said)} tokens and would be cut off", row)
        before = self.prompt(prompt, len(said), row)
        return Encoded((*before, *said), (*[IGNORED] * len(before), *said))

    def option(self, text: str) -> list[int]:
        """Return the tokens of an answer among several, without the end-of-turn token."""
        return self._ids(text)

    def text(self, text: str) -> Encoded:
        """Return a text without a template, behind BOS (or EOS where there is no BOS): every token of it is scored."""
        return self.scored_text(self._ids(text))

    def scored_text(self, ids: Sequence[int]) -> Encoded:
        """Return tokens of a text behind the one that opens texts; all but that one are scored."""
        bos = self.tokenizer.bos_token_id
        return Encoded((self.end if bos is None else bos, *ids), (IGNORED, *ids))

    def _rendered(self, text: str) -> list[int]:
        ids = self._ids(chat.render(self.tokenizer, text))
        return ids if self.tokenizer.chat_template else [*self.opening, *ids]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _cut(self, text: str, surplus: int, room: int, row: int | None) -> list[int]:
        """Return the prompt without its first `surplus` tokens, or a few more where the rest tokenises longer."""
        starts = [first for first, _ in self._offsets(text)]
        for dropped in range(surplus, len(starts)):
            ids = self._rendered(text[starts[dropped] :])
            if self.max_length is not None and len(ids) + room <= self.max_length:
                return ids
        raise self._too_long("nothing of the prompt would be left", row)

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = found["offset_mapping"]
        return offsets

    def _too_long(self, what: str, row: int | None) -> BadInput:
        wanted = f"at most {self.max_length} tokens together"
        return BadInput(what, row=row, expected=wanted, remedy="Raise training.max_length, or shorten the row.")


def stack(encoded: Sequence[Encoded], side: str = "right", multiple: int = 1) -> dict[str, torch.Tensor]:
    """Return `input_ids`, `attention_mask`, `position_ids` and `labels`, int64 [rows, longest], padded on `side`."""
    return {
        **inputs([one.input_ids for one in encoded], side, multiple),
        "labels": pad([one.labels for one in encoded], side, IGNORED, multiple),
    }


def inputs(rows: Sequence[Sequence[int]], side: str = "right", multiple: int = 1) -> dict[str, torch.Tensor]:
    """Return `input_ids`, `attention_mask` and `position_ids`, int64 [rows, longest], padded on `side`.

    Positions count real tokens from 0, so padding shifts nothing; what is padded with does not matter.
    """
    mask = pad([[1] * len(ids) for ids in rows], side, 0, multiple)
    return {"input_ids": pad(rows, side, 0, multiple), "attention_mask": mask, "position_ids": positions(mask)}


def pad(rows: Sequence[Sequence[int]], side: str = "right", filler: int = 0, multiple: int = 1) -> torch.Tensor:
    """Return rows of numbers as int64 [rows, longest], the shorter ones filled up on `side`.

    The width is rounded up to a `multiple`.
    """
    import torch

    longest = -(-max(map(len, rows)) // multiple) * multiple
    gaps = [[filler] * (longest - len(row)) for row in rows]
    return torch.tensor([[*g, *r] if side == "left" else [*r, *g] for r, g in zip(rows, gaps, strict=True)]).long()


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Return the position of every token under an attention mask [rows, tokens]: real ones are counted from 0."""
    return (mask.cumsum(-1) - 1).clamp(min=0)
