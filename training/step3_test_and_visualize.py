"""Step 3: test the model on films it has never seen, and look at the result.

Reads data/<task>/ and runs/<task>/model/; writes runs/<task>/test/ with metrics.json, tables,
overlays and report.html.

    python training/step3_test_and_visualize.py cldetection
"""

from medvial_training.cli import run_step

if __name__ == "__main__":
    raise SystemExit(run_step("evaluate", __doc__))
