"""The command of an image: whether it is in exec form, is there, and its user may run it."""

import posixpath
import re

from medvial_rehearsal.archive.image import Image
from medvial_rehearsal.archive.layer import Entry
from medvial_rehearsal.archive.tree import EXECUTE, READ, User
from medvial_rehearsal.gates import GateFailure

# Docker's where an image sets none.
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_EXEC_FORM = 'Write the exec form: ENTRYPOINT ["python", "process.py"]'
_SHELLS = ("sh", "bash", "dash", "ash")
# Options of Python that take a value, in the same word or the next; short ones may be joined: -um.
_WITH_VALUE = re.compile(r"-[^-cmWX]*([cmWX])(.?)")


def check_command(image: Image, user: User) -> str:
    """The command as one line.

    Raises:
        GateFailure: It is a shell's line, or what it names is missing or may not be run.
    """
    words = _words(image)
    program = _program(image, words[0])
    _require(image, program, user, EXECUTE, "RUN chmod a+rx it")
    _check_interpreter(image, program, user)
    script = _script(words)
    if script:
        path = posixpath.join(image.workdir, script)
        found = image.tree.resolve(path)
        if found is None or found.kind != "file":
            raise GateFailure(
                f"{' '.join(words)} in {image.workdir}: there is no {path}",
                "Set WORKDIR to the folder of the program, or give its whole path.",
            )
        _require(image, found, user, READ, "RUN chmod -R a+rX the program's folder")
    return f"{' '.join(words)} in {image.workdir}"


def _words(image: Image) -> list[str]:
    for key in ("Entrypoint", "Cmd"):
        value = image.settings.get(key)
        if value is not None and not isinstance(value, list):
            raise GateFailure(f"{key.upper()} is {str(value)[:60]!r}, not a list", _EXEC_FORM)
    words = [*image.strings("Entrypoint"), *image.strings("Cmd")]
    if not words:
        raise GateFailure("neither ENTRYPOINT nor CMD is set", _EXEC_FORM)
    if posixpath.basename(words[0]) in _SHELLS and words[1:2] == ["-c"]:
        raise GateFailure(
            f"shell form: {' '.join(words)[:80]}. A shell passes no signals on", _EXEC_FORM
        )
    return words


def _program(image: Image, name: str) -> Entry:
    """The file that a command's first word names."""
    if "/" in name:
        places = [posixpath.join(image.workdir, name)]
    else:
        folders = image.variables.get("PATH", _DEFAULT_PATH).split(":")
        places = [posixpath.join(image.workdir, folder, name) for folder in folders]
    for place in places:
        found = image.tree.resolve(place)
        if found and found.kind == "file":
            return found
    raise GateFailure(
        f"there is no {name} at {' or '.join(places)[:200]}",
        "Name a program that the image holds; check PATH, WORKDIR and what its links point to.",
    )


def _require(image: Image, entry: Entry, user: User, bit: int, mend: str) -> None:
    reason = image.tree.denied(entry, user, bit)
    if reason:
        verb = "execute" if bit == EXECUTE else "read"
        raise GateFailure(f"{user.name} cannot {verb} /{entry.path}: {reason}", f"{mend}.")


def _check_interpreter(image: Image, program: Entry, user: User) -> None:
    if not program.shebang:
        return
    if program.shebang.endswith(b"\r"):
        raise GateFailure(
            f"/{program.path} has Windows line ends: its interpreter is not found",
            "Save it with line feeds alone: sed -i 's/\\r$//'",
        )
    words = program.shebang[2:].split()
    path = words[0].decode(errors="replace") if words else ""
    interpreter = image.tree.resolve(path)
    if interpreter is None or interpreter.kind != "file":
        raise GateFailure(
            f"/{program.path} wants {path!r}, which is not in the image",
            "Name an interpreter that the image holds in its first line.",
        )
    _require(image, interpreter, user, EXECUTE, "RUN chmod a+rx it")


def _script(words: list[str]) -> str:
    """The file that Python is to run; "" where the command runs none."""
    if not posixpath.basename(words[0]).startswith("python"):
        return ""
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith("-"):
            return word
        option = _WITH_VALUE.match(word)
        if option and option[1] in "cm":
            return ""
        if word == "--check-hash-based-pycs" or (option and not option[2]):
            next(rest, "")
    return ""
