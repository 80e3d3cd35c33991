"""An image's description of itself, /opt/app/medvial.json, written while the image is built.

    python -m medvial.image_manifest TASK API_METHOD REQUIREMENTS REVISION

Made of the files in the image alone: the same files and arguments give the same bytes.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

FILE = "medvial.json"
MEMORY_GB = 8  # of the platform's smallest instance, where sockets.json asks for nothing else


def describe(app: Path, requirements: Path, **facts: Any) -> dict[str, Any]:
    """The description of an image.

    Args:
        app: Folder of process.py and sockets.json, whose `resources` and `weights` are taken over.
        requirements: The locked requirements that were installed.
        facts: Of the build: task, api_method, gpu, revision.

    Returns:
        A JSON object: the facts; `resources` with memory_gb; `weights`, paths of weights that lie
        in the image on purpose; `requirements_sha256`; `interfaces` of sockets.json.
    """
    sockets = json.loads((app / "sockets.json").read_text(encoding="utf-8"))
    return {
        **facts,
        "resources": {"memory_gb": MEMORY_GB, **sockets.get("resources", {})},
        "weights": sockets.get("weights", []),
        "requirements_sha256": hashlib.sha256(requirements.read_bytes()).hexdigest(),
        "interfaces": sockets["interfaces"],
    }


def main(arguments: list[str]) -> None:
    """Write the description of the image that is being built."""
    task, api_method, lock, revision = arguments
    facts = {"task": task, "api_method": api_method, "gpu": "gpu" in lock, "revision": revision}
    app = Path("/opt/app")
    content = json.dumps(describe(app, Path("/opt/requirements.txt"), **facts), indent=1)
    (app / FILE).write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
