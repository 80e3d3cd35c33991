"""Step 1: raw data to prepared samples and splits.

Reads the raw data of a task (--source); writes data/<task>/ with the samples, config.json and the
manifests train.csv, valid.csv, test.csv, split by patient.

    python training/step1_preprocess.py cldetection --source FOLDER
"""

from medvial_training.cli import run_step

if __name__ == "__main__":
    raise SystemExit(run_step("prepare", __doc__))
