"""Plain folders made of a version: an adapter that `peft` loads, or a whole model that `transformers` loads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import adapters, bases, manifest, models
from holdfast.errors import BadInput
from holdfast.records import Start

if TYPE_CHECKING:
    from holdfast.home import Home
    from holdfast.models import Model

_ADAPTER_README = """\
# An adapter of {base}

Made by Holdfast from the version with digest `{digest}`. It belongs to the base model `{base}` whose weights have
sha256 `{sha256}`; `manifest.json` holds a digest of every file. Heads: {heads}.

```python
{imports}from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

base, folder, head = "{place}", ".", "{head}"
network = AutoModelForSequenceClassification.from_pretrained(base, num_labels={labels})
{earlier}encoder = PeftModel.from_pretrained(network.base_model, folder)  # with encoder.disable_adapter(): without it
{merge}parts = {{key.partition("/")[2]: value for key, value in load_file(f"{{folder}}/heads.safetensors").items()
         if key.startswith(f"{{head}}/")}}
network.load_state_dict(parts, strict=False)
tokenizer = AutoTokenizer.from_pretrained(folder)
logits = network(**tokenizer("some text", return_tensors="pt")).logits  # labels: {names}
```

For the adapted encoder alone: `PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)`{after}.
"""
_MERGE = "encoder.merge_and_unload()  # writes the adapter into `network`\n"
_EARLIER = 'PeftModel.from_pretrained({network}, f"{place}").merge_and_unload()  # the start model\n'
_DECODER_README = """\
# {kind} of {base}

Made by Holdfast from the version with digest `{digest}`. The base model is `{base}`, whose weights have sha256
`{sha256}`.

```python
{code}
tokenizer = AutoTokenizer.from_pretrained(".")
```

A prompt is rendered with the tokenizer's chat template, or, where it has none, followed by a newline.
"""
_DECODER_ADAPTER = """\
{imports}from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

network = AutoModelForCausalLM.from_pretrained("{place}")
{earlier}network = PeftModel.from_pretrained(network, ".")"""
_DECODER_MERGED = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

network = AutoModelForCausalLM.from_pretrained(".")"""
_IMPORTS = "import holdfast.tuners.registered  # noqa: F401  teaches peft this kind of adapter\n"
_MERGED_README = """\
# A text classifier made of {base}

Made by Holdfast from the version with digest `{digest}`; the head is `{head}`, its labels are {names}.

```python
from transformers import pipeline

classify = pipeline("text-classification", ".")
```
"""


def export(start: Start, home: Home, folder: Path, merged: bool, head: str | None = None) -> Path:
    """Write a version as a plain folder and return it.

    Without `merged`: the adapter folder with a README that says how `peft` loads it; a version of several changes is
    written as one change from the base, so that one call loads it, but for an addition that cannot be merged: it is
    loaded after the change that it was made on. With `merged`: a whole model with `head` (or the
    only one), for `AutoModelForSequenceClassification.from_pretrained`, or a decoder, for `AutoModelForCausalLM`.
    Nothing is left behind on failure. Raises `BadInput` when `folder` is not empty, the version has no adapter, the
    head is not one of its heads, or the version cannot be merged.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput("is not empty", file=folder, remedy="Name a new or an empty folder to export to.")
    if start.adapter is None:
        raise BadInput(f"`{start.model}` is a base model without an adapter: there is nothing to export")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "export"
        made.mkdir()
        _write_merged(start, home, made, head) if merged else _write_adapter(start, home, made, head)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    return folder


def _write_adapter(start: Start, home: Home, folder: Path, head: str | None) -> None:
    assert start.adapter is not None
    source = home.store.open(start.adapter)
    manifest.verify(source, start.base)
    if len(adapters.changes(source)) > 1 and adapters.stays_beside(source) is None:
        adapters.flatten(start, home, folder)
    else:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    if start.task == "generation":
        _describe_decoder(start, folder, merged=False)
        manifest.write(folder, start.base)
        return
    heads = adapters.info(folder)
    shown = head or min(heads, default="")
    if shown not in heads:
        raise BadInput(f"the version has no head `{shown}`", key="--head", expected=f"one of {', '.join(heads)}")
    labels, known = heads[shown].labels, bases.KNOWN.get(start.base.name)
    text = _ADAPTER_README.format(
        base=bases.portable_name(start.base),
        sha256=start.base.sha256,
        digest=start.digest,
        heads=", ".join(f"`{name}`" for name in heads),
        imports=_imports(folder),
        earlier=_earlier(folder, "network.base_model", "{folder}/before/"),
        merge=_MERGE if adapters.stays_beside(folder) is None else "",
        after=" (after those in `before`)" if len(adapters.changes(folder)) > 1 else "",
        place=known.place if known else start.base.name,
        head=shown,
        labels=len(labels),
        names=", ".join(labels),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    manifest.write(folder, start.base)


def _imports(folder: Path) -> str:
    return _IMPORTS if any(map(adapters.needs_holdfast, adapters.changes(folder))) else ""


def _earlier(folder: Path, network: str, places: str) -> str:
    """Return the lines that load and merge the changes that come before a folder's last one."""
    count = len(adapters.changes(folder)) - 1
    return "".join(_EARLIER.format(network=network, place=f"{places}{number}") for number in range(count))


def _write_merged(start: Start, home: Home, folder: Path, head: str | None) -> None:
    assert start.adapter is not None
    kind = adapters.stays_beside(home.store.open(start.adapter))
    if kind is not None:
        what = f"`{start.model}` cannot be merged: what {kind.peft_type} adds is no change of the weights"
        raise BadInput(what, key="--merged", remedy="Export the adapter, without --merged.")
    model = models.load(start, home)
    if not model.generates:
        _choose(model, head)
    with bases.quiet():
        model.network.save_pretrained(folder)
    adapters.save_tokenizer(model.tokenizer, folder)
    if model.generates:
        _describe_decoder(start, folder, merged=True)
        return
    text = _MERGED_README.format(
        base=bases.portable_name(start.base), digest=start.digest, head=model.head, names=", ".join(model.labels)
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _describe_decoder(start: Start, folder: Path, merged: bool) -> None:
    known = bases.KNOWN.get(start.base.name)
    place = known.place if known else start.base.name
    code = _DECODER_MERGED if merged else _decoder_adapter(folder, place)
    text = _DECODER_README.format(
        kind="A model made" if merged else "An adapter",
        base=bases.portable_name(start.base),
        digest=start.digest,
        sha256=start.base.sha256,
        code=code,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _decoder_adapter(folder: Path, place: str) -> str:
    earlier = _earlier(folder, "network", "before/")
    return _DECODER_ADAPTER.format(imports=_imports(folder), place=place, earlier=earlier)


def _choose(model: Model, head: str | None) -> None:
    if head is None and len(model.heads) != 1:
        raise BadInput(
            "the version has several heads, and a merged model holds one",
            key="--head",
            expected=f"one of {', '.join(model.heads) or 'none'}",
        )
    model.use_head(head or next(iter(model.heads)))
