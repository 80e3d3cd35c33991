"""Tiny image archives and model tarballs, made by tarfile alone."""

import gzip
import hashlib
import io
import json
import lzma
import tarfile

METHOD = "org.grand-challenge.api-method"
BASE = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nalgorithm:x:1000:1000::/home/algorithm:/bin/sh\n"
    b"toor:x:0:0::/root:/bin/sh\nghost:x:1002:1002::/home/ghost:/bin/sh\n",
    "etc/group": b"root:x:0:\nalgorithm:x:1000:\nvideo:x:44:algorithm\n",
    "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\n"
    b"Version: 2.36-9+deb12u10\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n",
    "usr/bin/python3.11": (0o755, b"\x7fELF"),
    "usr/bin/python3": "python3.11",
    "bin": "usr/bin",
    "home/algorithm/": (0o700, 1000),
    "tmp/": 0o1777,
    "input/": 0o755,
}
MANIFEST = {"task": "x", "api_method": "invoke", "gpu": False, "weights": []}
APP = {
    "opt/venv/bin/python": "../../../usr/bin/python3",
    "opt/venv/lib/numpy-2.4.6.dist-info/METADATA": b"Name: numpy\nVersion: 2.4.6\n"
    b"License-Expression: BSD-3-Clause\n\nText",
    "opt/app/process.py": b'print("hello")\n',
    "opt/app/medvial.json": json.dumps(MANIFEST).encode(),
}


def tar(members, *, mode="w"):
    """A tar archive of name: content.

    The content of a file is bytes or (mode, bytes), of a folder (its name ends in /) mode or
    (mode, owner), of a symbolic link its target; a TarInfo is taken as it is.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info, data = _member(name, content)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _member(name, content):
    info = tarfile.TarInfo(name.rstrip("/"))
    if isinstance(content, tarfile.TarInfo):
        return content, b""
    if isinstance(content, str):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, content, 0o777
        return info, b""
    if name.endswith("/"):
        info.type = tarfile.DIRTYPE
        info.mode, info.uid = content if isinstance(content, tuple) else (content, 0)
        info.gid = info.uid
        return info, b""
    info.mode, data = content if isinstance(content, tuple) else (0o644, content)
    info.size = len(data)
    return info, data


def settings(**changes):
    """What the Dockerfile of a good image sets; None removes a key."""
    values = {
        "User": "1000:1000",
        "Env": ["PATH=/opt/venv/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
        "Entrypoint": ["python", "process.py"],
        "WorkingDir": "/opt/app",
        "Labels": {METHOD: "invoke", "org.opencontainers.image.revision": "abc1234"},
    }
    return {key: value for key, value in (values | changes).items() if value is not None}


def write_image(
    path,
    *layers,
    form="old",
    images=1,
    leave_out=(),
    name=None,
    pack=tar,
    outer=None,
    diff_ids=None,
    history=(),
    **changes,
):
    """A `docker save` archive; CamelCase changes are of the settings, others of the config."""
    blobs = [pack(layer) for layer in (layers or (BASE, APP))]
    plain = [tar(layer) for layer in (layers or (BASE, APP))]
    config = {
        "os": "linux",
        "architecture": "amd64",
        "created": "2026-02-03T04:05:06.7Z",
        "config": settings(**{k: v for k, v in changes.items() if k[0].isupper()}),
        "rootfs": {"diff_ids": diff_ids or [f"sha256:{digest(blob)}" for blob in plain]},
        "history": history,
        **{k: v for k, v in changes.items() if k[0].islower()},
    }
    content = json.dumps(config).encode()
    old = form == "old"
    names = [f"{digest(b)}/layer.tar" if old else f"blobs/sha256/{digest(b)}" for b in blobs]
    name = name or (f"{digest(content)}.json" if old else f"blobs/sha256/{digest(content)}")
    entry = {"Config": name, "RepoTags": ["medvial-x:latest"], "Layers": names}
    members = dict(zip(names, blobs, strict=True)) | {name: content}
    members |= {"manifest.json": json.dumps([entry] * images).encode()} | (outer or {})
    whole = tar({n: c for n, c in members.items() if n not in leave_out})
    packers = {".tar.gz": gzip.compress, ".tar.xz": lzma.compress}
    packer = next((p for ending, p in packers.items() if path.name.endswith(ending)), bytes)
    path.write_bytes(packer(whole))
    return path


def write_model(path, changes=(), *, prefix="./", files=None):
    """A model tarball of `cldetection`; changes replace, add or (None) remove files."""
    files = files or {"model.onnx": b"weights", "postprocess.json": b"{}"}
    sums = {name: digest(content) for name, content in files.items()}
    manifest = json.dumps({"task": "unheard_of", "files": sums}).encode()
    files = {**files, "manifest.json": manifest, **dict(changes)}
    members = {prefix: 0o755} if prefix else {}
    members |= {prefix + n: c for n, c in files.items() if c is not None}
    path.write_bytes(gzip.compress(tar(members), mtime=0))
    return path


def digest(content):
    return hashlib.sha256(content).hexdigest()
