"""Every command of README.md and docs/ runs, in their order, in one folder: they say what a newcomer types."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dicom_phantom import write_series

from ncct_cta.phantom.cohort import make_case, write_cohort
from ncct_cta.settings import Settings
from ncct_cta.settings.plain import settings_table

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
IN_ORDER = [DOCS / name for name in re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)]
PAGES = (README, *IN_ORDER)
LINKING = (*PAGES, *(ROOT / name for name in ("README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")))
IN_TWO_LANGUAGES = {README: ROOT / "README.zh.md"} | {
    DOCS / "tutorials" / path.name: path for path in sorted((DOCS / "zh").glob("*.md"))
}
TEXT = "\n".join(page.read_text() for page in PAGES)

# What a test can't run inside itself: .ci/run installs in new virtual environments, and TensorBoard never ends.
NOT_RUN = ("pip install", "tensorboard")
# The same commands with fewer steps, so that all of them take minutes on two cores.
FEWER_STEPS = "--train::num_epochs 1 --train::steps_per_epoch 2 --train::batch_size 2"
SMALL_NET = "--data::patch_size [32,32] --model::channels [4,8] --model::num_res_units 0 --refine::hidden_dim 4"
SHAPE, SPACING = (48, 48, 24), (7.0, 7.0, 10.5)
SHORTER = {
    "ncct_cta.phantom": "--shape 48 48 24 --spacing 7 7 10.5",
    "ncct_cta.demo": "--cases 3 --steps 2",
    "ncct_cta.train": f"{FEWER_STEPS} {SMALL_NET} --discriminator::hidden_dim 4",
    "run training": f"{FEWER_STEPS} {SMALL_NET}",
}


def blocks(language: str) -> list[tuple[str, str]]:
    """The title (a file's name, or empty) and the content of each code block."""
    return re.findall(rf'^```{language}(?: title="([^"]+)")?\n(.*?)^```', TEXT, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Each once, where it first stands: pages repeat the commands that they start from."""
    return list(dict.fromkeys(line for _, block in blocks("bash") for line in block.splitlines() if line.strip()))


def runnable() -> list[str]:
    return [command for command in commands() if not command.startswith(NOT_RUN)]


def shortened(command: str) -> list[str]:
    words = shlex.split(command)
    for part, more in SHORTER.items():
        if part in command:
            words += shlex.split(more if "starter" not in command else FEWER_STEPS)  # whose weights fit one net alone
    if words[0] == "python":
        words[0] = sys.executable
    return words


def write_scans(folder: Path) -> None:
    """What the pages take for granted: folders of NIfTI pairs, of new NCCTs, and of a DICOM series."""
    write_cohort(folder / "scans", cases=6, seed=0, shape=SHAPE, spacing=SPACING)
    write_cohort(folder / "new_scans", cases=1, seed=2, shape=SHAPE, spacing=SPACING)
    for name, kept in (("scans", ("_ncct.nii.gz", "_cta.nii.gz")), ("new_scans", ("_ncct.nii.gz",))):
        for path in (folder / name).iterdir():
            if not path.name.endswith(kept):
                path.unlink()
    write_series(folder / "dicom", make_case(seed=1, shape=SHAPE, spacing=SPACING).ncct)


def anchors(page: Path) -> set[str]:
    """What links to a page's headings end in."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_every_page_is_in_the_navigation() -> None:
    assert set(IN_ORDER) == set(DOCS.rglob("*.md"))
    assert len(IN_ORDER) > 10


def commands_of(page: Path) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", IN_TWO_LANGUAGES, ids=lambda page: page.name)
def test_both_languages_have_the_same_commands(page: Path) -> None:
    chinese = IN_TWO_LANGUAGES[page]
    assert commands_of(page)
    assert commands_of(chinese) == commands_of(page)
    text = chinese.read_text(encoding="utf-8")
    assert sum("\u4e00" <= letter <= "\u9fff" for letter in text) > 500


def test_every_tutorial_is_there_in_chinese_too() -> None:
    assert {path.name for path in (DOCS / "zh").glob("*.md")} == {
        path.name for path in (DOCS / "tutorials").glob("*.md")
    }


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_readme_and_the_report_show_a_picture() -> None:
    for page in (README, DOCS / "index.md", DOCS / "evaluation.md"):
        assert re.search(r"!\[[^]]+\]\([^)]+\.png\)", page.read_text())


def test_the_settings_table_is_the_code_s() -> None:
    assert (DOCS / "settings.md").read_text().endswith(f"\n\n{settings_table()}\n"), "run make settings"


def test_every_preset_is_listed() -> None:
    for preset in (ROOT / "configs").rglob("*.yaml"):
        name = preset.relative_to(ROOT / "configs").with_suffix("").as_posix()
        assert f"| `{name}` |" in TEXT


def test_every_settings_file_shown_is_valid() -> None:
    assert blocks("yaml")
    for _, block in blocks("yaml"):
        Settings.parse(yaml.safe_load(block))


def test_every_json_shown_is_valid() -> None:
    assert blocks("json")
    for _, block in blocks("json"):
        json.loads(block)


def test_every_benchmark_named_is_there() -> None:
    named = re.findall(r"benchmarks/\w+\.py", TEXT)
    assert {ROOT / name for name in named} == set((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path) -> None:
    for name in ("bundles", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_scans(tmp_path)
    for title, block in blocks("yaml"):
        (tmp_path / title).write_text(block)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert len(runnable()) > 20
    for command in runnable():
        done = subprocess.run(
            shortened(command), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert list((tmp_path / "synthetic").glob("*_syncta.nii.gz"))
    assert list((tmp_path / "synthetic_new").glob("*_syncta.nii.gz"))
    assert (tmp_path / "runs" / "g" / "model.ts").is_file()
