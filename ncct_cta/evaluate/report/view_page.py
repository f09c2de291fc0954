"""The report's viewer on a page of its own, for a case that nobody has scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...common.files import write_text
from ...common.limits import UNSEEN
from ...metrics.regions import body_mask
from ...volumes.nifti import Volume
from ...volumes.orientation import spacing_to_ras, to_ras
from .packed_volumes import MARGIN_MM, CaseVolumes, bounding_box, fit_case, grown, in_air
from .page import LIMIT_BYTES, case_data, render, texts, viewer_data, viewer_words


def volumes_to_view(images: Sequence[Volume]) -> CaseVolumes:
    """What the viewer shows of images that nobody has scored; the MIP covers the whole body.

    Args:
        images: in HU, all on one grid; the body is that of the first.
    """
    first = images[0]
    arrays = [to_ras(image.array, image.affine)[0] for image in images]
    spacing = spacing_to_ras(first.spacing, to_ras(first.array, first.affine)[1])
    body = body_mask(arrays[0], spacing)
    keep = grown(body, MARGIN_MM, spacing)
    box = bounding_box(keep)
    shown = tuple(in_air(array, keep, box) for array in arrays)
    return CaseVolumes(shown, body[box], spacing, shown[0].shape[2] // 2)


def write_view(volumes: CaseVolumes, names: Sequence[str], title: str, path: Path) -> None:
    """Write a page with the viewer alone, for one case that nobody has scored.

    Args:
        volumes: of the case; the errors are the differences to the last.
        names: of its images.
        title: of the page.
        path: of the HTML file; it is written completely or not at all.

    Raises:
        InputError: if it can't be written.
    """
    packed = fit_case(volumes, LIMIT_BYTES)
    page = viewer_words() | {
        "unseen": UNSEEN,
        "labels": [title],
        "scored": False,
        "choices": [{"number": at, "name": name, "checked": True} for at, name in enumerate(names)][1:-1],
        "packed": list(texts(0, packed)),
        "data": viewer_data(names, [case_data(0, packed.shape[2] // 2, packed)]),
    }
    write_text(render(page, "view.html"), path)
