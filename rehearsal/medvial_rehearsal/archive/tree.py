"""The file tree that an image's layers make, and what a user may do in it."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from medvial_rehearsal.archive.layer import Entry, Layer, clean_path

_WHITEOUT = ".wh."  # OCI image specification, layer filesystem changeset
_OPAQUE = ".wh..wh..opq"
_LINKS_LIMIT = 40  # as in the Linux kernel

READ, EXECUTE = 4, 1


@dataclass(frozen=True)
class User:
    """Who the program runs as."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]
    home: str


class Tree:
    """The layers of an image, one on the other."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._entries: dict[str, Entry] = {}
        for layer in layers:
            self._apply(layer)

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, by path."""
        return (self._entries[path] for path in sorted(self._entries))

    def content(self, path: str) -> bytes | None:
        """Content of a file that was kept, links followed; None where there is none."""
        entry = self.resolve(path)
        return entry.content if entry else None

    def resolve(self, path: str) -> Entry | None:
        """The entry at a path, all links followed; None where there is none, or links go round."""
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        at: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                at = at[:-1]
                continue
            entry = self._entries.get("/".join([*at, part]))
            if entry is None or entry.kind != "symlink":
                at.append(part)
                continue
            links += 1
            if links > _LINKS_LIMIT:
                return None
            at = [] if entry.target.startswith("/") else at
            todo += [p for p in reversed(entry.target.split("/")) if p not in ("", ".")]
        return self._at("/".join(at))

    def denied(self, entry: Entry, user: User, bit: int) -> str:
        """What keeps a user from reading or executing an entry; "" where nothing does."""
        parts = entry.path.split("/")
        for end in range(1, len(parts)):
            folder = self._entries.get("/".join(parts[:end]))
            if folder and not _allows(folder, user, EXECUTE):
                return f"/{folder.path} has mode {folder.mode:o} and is {folder.uid}:{folder.gid}'s"
        if not _allows(entry, user, bit):
            return f"/{entry.path} has mode {entry.mode:o} and is {entry.uid}:{entry.gid}'s"
        return ""

    def digest(self) -> str:
        """sha256 (hex) of names, kinds, modes, owners and contents; not of times.

        Two builds with the same digest have the same files.
        """
        digest = hashlib.sha256()
        for entry in self:
            owner = f"{entry.mode:o} {entry.uid}:{entry.gid}"
            line = f"{entry.kind} {owner} {entry.path}\0{entry.target}\0{entry.digest}\n"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self._entries.values())

    def _at(self, path: str) -> Entry | None:
        if path in self._entries or not path:
            return self._entries.get(path, Entry("", "folder"))
        # Folders need no entry of their own where something lies in them.
        inside = any(other.startswith(path + "/") for other in self._entries)
        return Entry(path, "folder") if inside else None

    def _apply(self, layer: Layer) -> None:
        # Whiteouts hide what lower layers left, never what comes in the same layer.
        for entry in layer.entries:
            folder, _, name = entry.path.rpartition("/")
            if name == _OPAQUE:
                self._remove_below(folder)
            elif name.startswith(_WHITEOUT):
                hidden = f"{folder}/{name[len(_WHITEOUT) :]}".lstrip("/")
                before = self._entries.pop(hidden, None)
                if before is None or before.kind == "folder":  # a look at every entry there is
                    self._remove_below(hidden)
        for entry in layer.entries:
            if entry.path and not entry.path.rpartition("/")[2].startswith(_WHITEOUT):
                self._add(entry)

    def _add(self, entry: Entry) -> None:
        before = self._entries.get(entry.path)
        if before and before.kind == "folder" and entry.kind != "folder":
            self._remove_below(entry.path)
        if entry.kind == "hardlink":
            first = self._entries.get(clean_path(entry.target))
            # The same file under another name: counted once, told by its content.
            entry = replace(first, path=entry.path, size=0) if first else entry
        self._entries[entry.path] = entry

    def _remove_below(self, folder: str) -> None:
        inside = folder + "/" if folder else ""
        for path in [path for path in self._entries if path.startswith(inside)]:
            del self._entries[path]


def _allows(entry: Entry, user: User, bit: int) -> bool:
    if user.uid == entry.uid:
        return bool(entry.mode >> 6 & bit)
    if entry.gid in user.groups or entry.gid == user.gid:
        return bool(entry.mode >> 3 & bit)
    return bool(entry.mode & bit)
