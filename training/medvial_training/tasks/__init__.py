"""The tasks, by name; each is a package with the modules prepare, train, evaluate and export.

Each module holds the function of its own name, which is the step script's command line.
"""

TASKS = ("cldetection", "echonet", "gait", "video")
