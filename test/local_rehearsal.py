"""A rehearsal whose cases run in a process of this machine, where no engine is needed."""

import subprocess
import sys
import time

from medvial_rehearsal.container.context import Rehearsal, Run
from medvial_rehearsal.project import cases_in


class LocalRehearsal(Rehearsal):
    """An algorithm folder's process.py, without any limits."""

    method = "exec"

    @classmethod
    def of(cls, algorithm, work):
        work.mkdir()
        cases = tuple(cases_in(algorithm / "test"))
        return cls(algorithm.name, "none", None, algorithm, cases, algorithm / "model", work)

    def _execute(self, name, folder, limits, model, output):
        command = [sys.executable, self.algorithm / "process.py", "--method=exec"]
        command += [f"--{place}={folder / place}" for place in ("input", "output")]
        command += [f"--model={model or self.staged_model}"]
        start = time.monotonic()
        result = subprocess.run(command, capture_output=True)
        (folder / "stdout.txt").write_bytes(result.stdout)
        (folder / "stderr.txt").write_bytes(result.stderr)
        return Run(name, folder, result.returncode, time.monotonic() - start)
