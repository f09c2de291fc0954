"""What a synthetic CTA can't show: the same words on a model's card, in the report and in the pages."""

from __future__ import annotations

INTENDED_USE = "Research on the synthesis of CT angiography from non-contrast chest CT. Not for diagnosis."
# Contrast shows them by where it doesn't go: of that, a scan without contrast holds next to nothing.
UNSEEN = (
    "Thrombus, dissection and plaque can't be expected to be synthesised truthfully: without contrast they look like "
    "the blood around them. A network that has never seen where the contrast stops paints a healthy vessel there."
)
LIMITS = (
    UNSEEN,
    "A vessel in the image need not be there, and one that is there may be missing; small ones most of all.",
    "How bright the vessels are is learned from the training's injections, and says nothing about this patient's.",
    "On scanners, reconstructions and patients unlike the training's, nothing is known of the errors.",
)
