"""Step 2: train with early stopping on the validation score.

Reads data/<task>/ of step 1; writes runs/<task>/ with checkpoints/, log.csv and the model folder
model/.

    python training/step2_train_and_valid.py cldetection
"""

from medvial_training.cli import run_step

if __name__ == "__main__":
    raise SystemExit(run_step("train", __doc__))
