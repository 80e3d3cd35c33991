"""Train, evaluate and export the models of medvial's algorithms."""
