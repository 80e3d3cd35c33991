"""What the README and the docs name exists, and their commands are understood."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medvial_training.tasks import TASKS

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("algorithms/*/README.md")])
STEP = re.compile(r"python (training/step\w+\.py)([^\n#`]*)")


def page_id(path):
    return str(path.relative_to(ROOT))


def test_every_path_of_the_map_exists():
    tree = re.search(r"^## Map\n+```\n(.*?)```", (ROOT / "README.md").read_text(), re.S | re.M)[1]
    folder = ROOT
    for line in tree.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        parent = folder if line.startswith(" ") else ROOT
        for name in names:
            assert (parent / name).exists(), f"{name} in: {line}"
        if not line.startswith(" "):
            folder = ROOT / names[0]


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_link_to_a_file_leads_there(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_script_named_exists(path):
    for script, _ in STEP.findall(path.read_text()):
        assert (ROOT / script).is_file(), script
    for script in re.findall(r"(?<![\w/])\./([\w/]+\.sh)", path.read_text()):
        assert (ROOT / script).is_file(), script


@pytest.mark.slow  # starts PyTorch for every step and task
def test_every_option_of_a_step_is_in_its_help():
    commands = {c for path in PAGES for c in STEP.findall(joined_lines(path))}
    programs = sorted({(script, task_of(arguments)) for script, arguments in commands})
    assert len({script for script, _ in programs}) == 4
    with ThreadPoolExecutor(2) as pool:
        helps = dict(zip(programs, pool.map(help_of, programs), strict=True))
    for script, arguments in commands:
        shown = helps[script, task_of(arguments)]
        for option in re.findall(r"(--[\w.-]+)", arguments):
            assert re.search(rf"^\s+{re.escape(option)}\b", shown, re.M), (script, option)


def joined_lines(path):
    return path.read_text().replace("\\\n", " ")


def task_of(arguments):
    """The task that a step is called with; the first one if none is named."""
    words = arguments.split()
    return words[0] if words and words[0] in TASKS else TASKS[0]


def help_of(program):
    script, task = program
    command = [sys.executable, str(ROOT / script), task, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout


def test_no_page_names_a_path_of_one_machine():
    for path in PAGES:
        assert not re.search(r"/(work|root|home)/", path.read_text()), path
