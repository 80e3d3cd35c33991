"""One session of the platform's own client, with an S3 server of moto on loopback.

Runs in the client's own environment (Python 3.12), as a script: reads a job as JSON from standard
input, writes what came of it as JSON to the file named on the command line. The job:

    method           exec or invoke: how the client talks to the algorithm
    start            command of the client; the client's own arguments are put after it
    environment      of the client, on top of what is needed to reach the S3 server
    forward          whether `start` is `docker run ...` and takes the environment as `--env`
    image            the image to run, between `start` and the client's arguments, or null
    cases            [{name, inputs: {relative path: file}}], run one after the other
    model            model.tar.gz or null
    time_limit_s     of one case
    output           folder: what the client put into S3 is left in its sub-folders 0, 1, ...
"""

import hashlib
import hmac
import io
import json
import logging
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

INPUTS, OUTPUTS = "gc-inputs", "gc-outputs"
SIGNING_KEY = "6d65647669616c"
RESERVED = ".sagemaker_shim/"
VARIABLE = "GRAND_CHALLENGE_COMPONENT_"


def main() -> None:
    """Run the job."""
    logging.disable(logging.CRITICAL)  # the S3 server's requests
    job = json.load(sys.stdin)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        result = run_session(job, f"http://127.0.0.1:{server.get_host_and_port()[1]}")
    finally:
        server.stop()
    Path(sys.argv[1]).write_text(json.dumps(result), encoding="utf-8")


def run_session(job: dict[str, Any], url: str) -> dict[str, Any]:
    """Put the inputs into S3, run the client, and collect what it put there."""
    access = {
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_S3_ENDPOINT_URL": url,
    }
    os.environ.update(access)
    s3 = boto3.client("s3", endpoint_url=url)
    for bucket in (INPUTS, OUTPUTS):
        s3.create_bucket(Bucket=bucket)
    tasks = [put_case(s3, case, job["time_limit_s"]) for case in job["cases"]]
    session = f"runtime/{uuid.uuid4()}"
    environment = access | client_environment(job, session) | job["environment"]
    if job["model"]:
        s3.upload_file(job["model"], INPUTS, "model.tar.gz")
        environment[f"{VARIABLE}MODEL"] = f"s3://{INPUTS}/model.tar.gz"
    process = run_client(job, environment, tasks)
    cases = [
        collect_case(s3, task, Path(job["output"]) / str(index)) for index, task in enumerate(tasks)
    ]
    return {
        "exit_code": process.returncode,
        "setup": read_signed(s3, f"{session}/{RESERVED}runtime_setup_result.json"),
        "cases": cases,
        **sort_logs(process.stdout + process.stderr),
    }


def client_environment(job: dict[str, Any], session: str) -> dict[str, str]:
    """What the platform sets for every job."""
    return {
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
        "no_proxy": "127.0.0.1,amazonaws.com",
        f"{VARIABLE}API_METHOD": job["method"],
        f"{VARIABLE}SIGNING_KEY_HEX": SIGNING_KEY,
        f"{VARIABLE}RUNTIME_OUTPUT_BUCKET_NAME": OUTPUTS,
        f"{VARIABLE}RUNTIME_OUTPUT_PREFIX": session,
    }


def put_case(s3: Any, case: dict[str, Any], time_limit_s: float) -> dict[str, Any]:
    """Upload a case's inputs; returns the client's description of the case."""
    key = f"{uuid.uuid4()}-00"
    inputs = []
    for relative_path, file in case["inputs"].items():
        s3.upload_file(file, INPUTS, f"{key}/{relative_path}")
        inputs.append(
            {
                "relative_path": relative_path,
                "bucket_name": INPUTS,
                "bucket_key": f"{key}/{relative_path}",
                "decompress": False,
            }
        )
    return {
        "pk": f"algorithms-job-{key}",
        "inputs": inputs,
        "output_bucket_name": OUTPUTS,
        "output_prefix": f"io/algorithms/job/{key}",
        "timeout": f"PT{time_limit_s}S",
    }


def run_client(
    job: dict[str, Any], environment: dict[str, str], tasks: list[dict[str, Any]]
) -> subprocess.CompletedProcess[bytes]:
    """Run the client to its end."""
    command = list(job["start"])
    if job["forward"]:
        command += [f"--env={name}={value}" for name, value in environment.items()]
        command.append(job["image"])
        environment = {}
    command += ["invoke", "--tasks", json.dumps(tasks)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True)


def collect_case(s3: Any, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Download a case's outputs and its signed result."""
    prefix = task["output_prefix"] + "/"
    found = s3.list_objects_v2(Bucket=OUTPUTS, Prefix=prefix).get("Contents", [])
    names = [entry["Key"].removeprefix(prefix) for entry in found]
    stored = sorted(name for name in names if not name.startswith(RESERVED))
    for name in stored:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(OUTPUTS, prefix + name, str(target))
    result = read_signed(s3, f"{prefix}{RESERVED}inference_result.json")
    return {"pk": task["pk"], "folder": str(folder), "stored": stored, "result": result}


def read_signed(s3: Any, key: str) -> dict[str, Any] | None:
    """A JSON object of S3 with its `signature_valid`; None where there is none.

    The client signs the object's bytes by HMAC-SHA256 (RFC 2104).
    """
    try:
        response = s3.get_object(Bucket=OUTPUTS, Key=key)
    except s3.exceptions.NoSuchKey:
        return None
    content = response["Body"].read()
    expected = sign(content)
    given = response["Metadata"].get("signature_hmac_sha256", "")
    value: dict[str, Any] = json.load(io.BytesIO(content))
    return value | {"signature_valid": hmac.compare_digest(expected, given)}


def sign(content: bytes, key: str = SIGNING_KEY) -> str:
    """HMAC-SHA256 in hex; the key in hex too."""
    return hmac.new(bytes.fromhex(key), content, hashlib.sha256).hexdigest()


def sort_logs(raw: bytes) -> dict[str, list[str]]:
    """The algorithm's own lines and the client's complaints, out of the client's JSON lines."""
    logs: dict[str, list[str]] = {"stdout": [], "stderr": [], "client": []}
    for line in raw.decode("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
            name, text = entry["source"], entry["log"]
        except (ValueError, TypeError, KeyError):
            logs["client"].append(line)
            continue
        if entry.get("internal") is False:
            logs[name].append(text)
        elif entry.get("level") in ("WARNING", "ERROR", "CRITICAL"):
            logs["client"].append(text)
    return logs


if __name__ == "__main__":
    main()
