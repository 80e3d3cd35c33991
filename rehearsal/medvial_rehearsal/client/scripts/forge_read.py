"""Read outputs as the evaluation of a challenge kit does, with the kit's own functions.

Runs in the client's own environment (Python 3.12), as a script: the job is its one argument,
`{evaluation: folder of evaluate.py, input: folder of the cases, pk: the case, outputs: [sockets]}`;
writes `{errors: {slug: reason}}` to standard output.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Read every output."""
    job = json.loads(sys.argv[1])
    sys.path.insert(0, job["evaluation"])
    evaluate = importlib.import_module("evaluate")
    evaluate.INPUT_DIRECTORY = Path(job["input"])  # type: ignore[attr-defined]
    values = [{"interface": socket} for socket in job["outputs"]]
    errors = {}
    for socket in job["outputs"]:
        try:
            read(evaluate, job["pk"], values, socket)
        except Exception as error:
            errors[socket["slug"]] = f"{type(error).__name__}: {error}"
    print(json.dumps({"errors": errors}))


def read(evaluate: Any, pk: str, values: list[Any], socket: dict[str, str]) -> None:
    """Read one output; the kit's reader of other files takes texts only, so those must exist."""
    location = evaluate.get_file_location(job_pk=pk, values=values, slug=socket["slug"])
    if socket["super_kind"] == "Image":
        evaluate.load_image_file_as_array(location=location)
    elif socket["relative_path"].endswith(".json"):
        evaluate.load_json_file(location=location)
    elif not Path(location).is_file():
        raise FileNotFoundError(location)


if __name__ == "__main__":
    main()
