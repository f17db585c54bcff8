"""A document as one HTML page that needs nothing else: styles inside, pictures inside, no script, all text escaped."""

from __future__ import annotations

import base64
from html import escape

from holdfast.reports.document import Block, Code, Document, Picture, Section, Table, Text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h2 { border-bottom: 1px solid #ddd; } nav a { margin-right: 1rem; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; background: #f6f6f6; font-weight: 600; }
.good { border-color: #2a7f3f; } .bad { border-color: #b3261e; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem; border-bottom: 1px solid #e4e4e4; }
td { overflow-wrap: anywhere; } th { background: #f6f6f6; }
tr.good td:last-child { color: #2a7f3f; font-weight: 600; } tr.bad td:last-child { color: #b3261e; font-weight: 600; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #555; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(document: Document) -> str:
    """Return the page."""
    links = "".join(f'<a href="#s{i}">{escape(s.heading)}</a>' for i, s in enumerate(document.sections))
    body = "\n".join(_section(i, section) for i, section in enumerate(document.sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(document.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(document.title)}</h1>
<p class="verdict {"good" if document.good else "bad"}">{escape(document.verdict)}</p>
<nav>{links}</nav>
{body}
</body>
</html>
"""


def _section(number: int, section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="s{number}">\n<h2>{escape(section.heading)}</h2>\n{blocks}\n</section>'


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre>{escape(block.text)}</pre>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode("ascii")
        caption = escape(block.caption)
        image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    return _table(block)


def _table(table: Table) -> str:
    heads = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    moods = table.moods or ["neutral"] * len(table.rows)
    rows = "\n".join(
        f'<tr class="{escape(mood)}">{"".join(f"<td>{escape(cell)}</td>" for cell in row)}</tr>'
        for mood, row in zip(moods, table.rows, strict=True)
    )
    return f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'
