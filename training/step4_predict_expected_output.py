"""Step 4: put the model into the algorithm folder and predict its expected output.

Reads runs/<task>/model/; writes algorithms/<task>/model/, with an ONNX file that is checked against
PyTorch, and algorithms/<task>/test/expected_output.json by running process.py, the very program of
the container.

    python training/step4_predict_expected_output.py cldetection
"""

from medvial_training.cli import run_step

if __name__ == "__main__":
    raise SystemExit(run_step("export", __doc__))
