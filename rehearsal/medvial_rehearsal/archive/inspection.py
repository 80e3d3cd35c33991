"""What to look for in the files of an image: secrets, and downloads at run time."""

import re
from pathlib import PurePosixPath

# Names that hold credentials, or a whole history of sources.
_SECRET_NAMES = re.compile(
    r"(^|/)(\.git|id_(rsa|dsa|ecdsa|ed25519)|\.netrc|_netrc"
    r"|\.pypirc|\.git-credentials|\.aws/credentials|\.docker/config\.json|\.kube/config"
    r"|kaggle\.json|(\.cache/)?\.?huggingface/token)(/|$)"
)
# A folder of this name is a virtual environment.
_SECRET_FILES = re.compile(r"(^|/)(\.env(\.(local|production|development))?)$")
# A literal of a private key in a program's source has no body of base64 lines: it does not match.
_PRIVATE_KEY = re.compile(
    rb"^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----\s+([\w-]+: .*\n)*\s*[A-Za-z0-9+/=]{20}", re.MULTILINE
)
_TOKENS = {
    "a GitHub token": re.compile(rb"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60})"),
    "a GitLab token": re.compile(rb"\bglpat-[\w-]{20}"),
    "a Hugging Face token": re.compile(rb"\bhf_[A-Za-z]{34}\b"),
    "an AWS key": re.compile(rb"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a password in a URL": re.compile(rb"https?://[^/\s:@'\"{<$]+:[^/\s@'\"{<$]+@"),
    "a token of npm": re.compile(rb"_authToken\s*=\s*\S"),
}
_LIBRARIES = re.compile(
    r"(^|/)(site-packages|dist-packages|node_modules)/|^(usr/(?!src/)|lib/|var/(cache|lib|log)/)"
)
_DOWNLOADS = re.compile(
    rb"torch\.hub\.(load|download)\w*\(|\bfrom_pretrained\(|\bhf_hub_download\(|"
    rb"\bsnapshot_download\(|\burlretrieve\(|\bpretrained\s*=\s*True|"
    rb"\bweights\s*=\s*['\"](DEFAULT|IMAGENET)|\brequests\.(get|post)\("
)
# Whole words at their end, unlike those of TOKENIZERS_PARALLELISM and MAX_TOKENS.
_SECRET_VARIABLE = re.compile(
    r"\w*(PASSWORDS?|PASSWD|SECRETS?|TOKEN|API_?KEYS?|ACCESS_?KEYS?|CREDENTIALS?)([\d_]\w*)?"
    r"(?<!_FILE|_PATH)",
    re.IGNORECASE,
)
_SWITCH_OR_COUNT = re.compile(r"true|false|yes|no|on|off|none|\d{1,5}(\.\d+)?", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"(?<![\w-])(\w+)=([^\s\"']+)")

SECRET = "secret: "
LIBRARY_KEY = "key of a library: "
DOWNLOAD = "download: "


def findings_by_name(path: str, kind: str) -> tuple[str, ...]:
    """What a path gives away, before the content is looked at; `kind` as in Entry."""
    match = _SECRET_NAMES.search(path)
    if match is None and kind in ("file", "hardlink"):
        match = _SECRET_FILES.search(path)
    if match is None:
        return ()
    name = match[2]
    return (_key(path, name) if name.startswith("id_") else f"{SECRET}{name}",)


def findings_in(path: str, content: bytes) -> tuple[str, ...]:
    """What a small file's content gives away."""
    found = []
    if b"PRIVATE KEY" in content and _PRIVATE_KEY.search(content):
        found.append(_key(path, "a private key"))
    if not _LIBRARIES.search(path):
        found += [f"{SECRET}{name}" for name, form in _TOKENS.items() if form.search(content)]
        if PurePosixPath(path).suffix == ".py":
            found += _downloads(content)
    return tuple(found)


def secret_variables(assignments: list[str]) -> list[str]:
    """Names of the variables in NAME=VALUE texts whose name says that the value is a secret.

    Values that are a switch or a count, such as `false` and `512`, are none.
    """
    pairs = [pair for text in assignments for pair in _ASSIGNMENT.findall(text)]
    return sorted(
        {
            name
            for name, value in pairs
            if _SECRET_VARIABLE.fullmatch(name) and not _SWITCH_OR_COUNT.fullmatch(value)
        }
    )


def _key(path: str, name: str) -> str:
    """The finding of a private key; those of libraries are mostly examples of their tests."""
    return f"{LIBRARY_KEY if _LIBRARIES.search(path) else SECRET}{name}"


def _downloads(content: bytes) -> list[str]:
    lines = enumerate(content.splitlines(), start=1)
    return [
        f"{DOWNLOAD}{number}: {match[0].decode()}"
        for number, line in lines
        if (match := _DOWNLOADS.search(line))
    ]
