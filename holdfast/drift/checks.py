"""All checks of a window against the reference, judged as a set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from holdfast.drift import content, descriptors, embedding, performance, shares
from holdfast.drift.finding import Finding, judge, skipped

if TYPE_CHECKING:
    from holdfast.drift.sample import Sample
    from holdfast.drift.settings import Monitor

_FEWEST = 20


@dataclass(frozen=True)
class Checked:
    """The findings of a window, and how strange each of its rows is (NaN where the content was not looked at)."""

    findings: tuple[Finding, ...]
    strangeness: np.ndarray

    @property
    def alarm(self) -> bool:
        """Say whether anything drifted."""
        return any(finding.drifted for finding in self.findings)

    @property
    def drifted(self) -> tuple[str, ...]:
        """The names of the checks that drifted."""
        return tuple(finding.check for finding in self.findings if finding.drifted)


def run(reference: Sample, window: Sample, monitor: Monitor, recent: Sample | None = None) -> Checked:
    """Make every check that the section names and the rows allow, and judge them together.

    `recent` are the rows on which performance is measured where they are more than the window's own: labels come late.
    """
    enough = min(len(reference), len(window)) >= _FEWEST
    told = _content(reference, window, monitor) if enough and monitor.checks.content else None
    texts = _on_texts(reference, window, monitor) if enough else []
    found = [*([told.finding] if told else []), *texts, *_on_answers(reference, window, monitor, recent or window)]
    strangeness = told.strangeness if told else np.full(len(window), np.nan)
    return Checked(judge(found, monitor.family_wise), strangeness)


def _content(reference: Sample, window: Sample, monitor: Monitor) -> content.Told | None:
    options = monitor.checks.content
    return content.check(reference, window, options, monitor.seed) if options else None


def _on_texts(reference: Sample, window: Sample, monitor: Monitor) -> list[Finding]:
    wanted, found = monitor.checks, []
    if wanted.descriptors:
        found.append(descriptors.check(reference, window, wanted.descriptors))
    if wanted.embedding and reference.embeddings is not None and window.embeddings is not None:
        found.append(embedding.check(reference, window, wanted.embedding, monitor.seed))
    elif wanted.embedding:
        found.append(skipped("embedding", "there are no embeddings"))
    return found


def _on_answers(reference: Sample, window: Sample, monitor: Monitor, recent: Sample) -> list[Finding]:
    wanted, seed, found = monitor.checks, monitor.seed, []
    if wanted.label:
        found.append(shares.check("label", reference.labels, window.labels, wanted.label, seed))
    if wanted.prediction:
        before, after = (side.predictions[side.judging] for side in (reference, window))
        found.append(shares.check("prediction", before, after, wanted.prediction, seed))
    if wanted.segments:
        found.append(shares.segments(reference, window, wanted.segments, seed))
    if wanted.performance:
        found.append(performance.measured(reference, recent, wanted.performance))
    if wanted.estimate:
        found.append(performance.estimated(reference, window, wanted.estimate))
    return found
