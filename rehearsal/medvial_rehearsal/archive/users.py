"""The user an image names, resolved as the platform does: in the image's own /etc/passwd."""

import re

from medvial_rehearsal.archive.tree import Tree, User
from medvial_rehearsal.gates import GateFailure

_ROOT = re.compile(r"(root|0+)?(:.*)?")
_FORM = re.compile(r"([A-Za-z][\w.-]*|\d{1,9})(:([A-Za-z][\w.-]*|\d{1,9}))?")
_MEND = "In the Dockerfile: RUN useradd --create-home --uid 1000 NAME, and USER 1000:1000."


def resolve_user(setting: str, tree: Tree) -> User:
    """The user of the USER setting.

    Raises:
        GateFailure: It is root, or the image's /etc/passwd does not know it.
    """
    if _ROOT.fullmatch(setting):
        raise GateFailure(f"USER is {setting!r}: the platform refuses root", _MEND)
    if not _FORM.fullmatch(setting):
        raise GateFailure(f"USER is {setting!r}, neither a name nor a number", _MEND)
    name, _, group = setting.partition(":")
    known = _table(tree, "etc/passwd", 7)
    row = next((row for row in known if name in (row[0], row[2])), None)
    if row is None:
        raise GateFailure(
            f"USER {name} is not in the image's /etc/passwd: it has no home to write to", _MEND
        )
    if int(row[2]) == 0:
        raise GateFailure(f"USER {name} has the id 0: that is root", _MEND)
    gid, groups = _groups(row[0], int(row[3]), group, tree)
    return User(row[0], int(row[2]), gid, groups, row[5])


def _groups(name: str, gid: int, group: str, tree: Tree) -> tuple[int, frozenset[int]]:
    """The primary group, another one if the setting names it, and all the others."""
    known = _table(tree, "etc/group", 4)
    if group:
        row = next((row for row in known if group in (row[0], row[2])), None)
        if row is None and not group.isdigit():
            raise GateFailure(f"the group {group} is not in the image's /etc/group", _MEND)
        gid = int(row[2]) if row else int(group)
    return gid, frozenset(int(row[2]) for row in known if name in row[3].split(","))


def _table(tree: Tree, path: str, fields: int) -> list[list[str]]:
    text = (tree.content(path) or b"").decode(errors="replace")
    rows = [line.split(":") for line in text.splitlines()]
    numbers = (2, 3) if fields == 7 else (2,)
    return [row for row in rows if len(row) == fields and all(row[n].isdigit() for n in numbers)]
