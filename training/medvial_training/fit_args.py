"""The options of training, the same for every task."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from medvial.errors import InputError

COUNTS = ("max_epochs", "patience", "batch_size", "accumulate", "step_epochs", "validate_every")
MOMENTUM = 0.9
RANGES = {  # from, to below
    **dict.fromkeys((*COUNTS, "keep", "devices", "num_nodes"), (1, inf)),
    **dict.fromkeys(("weight_decay", "gradient_clip", "save_every", "workers"), (0, inf)),
    **dict.fromkeys(("ema_decay", "momentum", "warmup"), (0, 1)),
    "step_factor": (0, inf),
    "seed": (0, 2**32),
}


@dataclass(frozen=True)
class FitArgs:
    """How to train; the same for every task."""

    max_epochs: int = 80
    """Epochs at most; the schedules one_cycle and cosine fall to zero over them."""

    patience: int = 25
    """Epochs without a better validation score before training stops, up to a whole number of
    validations."""

    batch_size: int = 4
    """Samples per step and process."""

    accumulate: int = 1
    """Batches whose gradients are averaged into one step."""

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """Fused into one kernel where the device has it."""

    learning_rate: float = 2e-3
    """Highest learning rate of the schedule."""

    weight_decay: float = 1e-2
    """Weight decay; decoupled in adamw, an L2 penalty in adam and sgd."""

    momentum: float = MOMENTUM
    """Of sgd, but in one_cycle, which moves it from 0.95 to 0.85 and back (and so beta1 of adam and
    adamw) and takes no other value than this one."""

    nesterov: bool = False
    """Nesterov's momentum in sgd."""

    schedule: Literal["one_cycle", "cosine", "constant", "step"] = "one_cycle"
    """How the learning rate goes over the steps; cosine falls after a linear warm-up."""

    warmup: float = 0.15
    """Share of the steps in which the learning rate rises: in one_cycle and cosine."""

    step_epochs: int = 30
    """Epochs between the steps of the schedule step."""

    step_factor: float = 0.1
    """What each of these multiplies the learning rate by."""

    ema_decay: float = 0.998
    """Decay per step of the moving average of the weights, which is what is validated and kept;
    0 keeps the last weights instead."""

    checkpoint: Literal["best", "last"] = "best"
    """What the model is made of: the weights with the best validation score, or those after the
    last epoch, which no validation sample has chosen; for a schedule that falls to zero."""

    gradient_clip: float = 5.0
    """Largest norm of the gradient; 0 does not clip."""

    sync_batchnorm: bool = False
    """Normalise over the batches of all processes together; on GPUs only."""

    validate_every: int = 1
    """Epochs between validations; at most max_epochs."""

    save_every: int = 0
    """Epochs between numbered checkpoints beside best.ckpt and last.ckpt; 0 keeps none."""

    keep: int = 3
    """Newest numbered checkpoints to keep."""

    seed: int = 1
    """Seed of initial weights, sample order and augmentation."""

    workers: int | None = None
    """Processes that load samples; none on the CPU, up to 8 beside a GPU when not given."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Device to train on."""

    devices: int | None = None
    """Processes per node, one a device; as torchrun or SLURM started them, else 1."""

    num_nodes: int | None = None
    """Nodes; as torchrun or SLURM started them, else 1."""

    strategy: str = "auto"
    """How processes share the work, by Lightning's names; auto is ddp for more than one."""

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Arithmetic of training; auto takes bfloat16 where the device computes in it, half precision
    on an older GPU, else single."""

    compile: bool = False
    """Compile the network by torch.compile; worth it for long trainings on a GPU."""

    mlflow: bool = True
    """Track parameters, metrics, environment and the best checkpoint with MLflow."""

    tracking_uri: str | None = None
    """MLflow server or store; the database file mlruns/mlflow.db when not given."""

    tensorboard: bool = False
    """Write TensorBoard's event files into the run folder as well."""

    progress: bool | None = None
    """Show a progress bar, instead of one line per validation; on a terminal when not given."""

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        for name, (least, below) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value < below:
                limit = (
                    f"from {least} to below {below:g}" if below < inf else f"of at least {least}"
                )
                raise InputError(f"Expected {name} {limit}, got {value}.")
        if not 0 < self.learning_rate < inf:
            raise InputError(f"Expected a learning_rate above 0, got {self.learning_rate}.")
        if self.validate_every > self.max_epochs:
            raise InputError(
                f"Expected validate_every of at most max_epochs, {self.max_epochs}, got "
                f"{self.validate_every}: nothing would be validated, and no model kept."
            )
        if (self.optimizer, self.schedule) == ("sgd", "one_cycle") and self.momentum != MOMENTUM:
            raise InputError(
                "Expected no momentum with sgd and one_cycle, which moves it from 0.95 to 0.85 and "
                f"back, got {self.momentum}. Leave it out, or take another schedule."
            )
        if self.nesterov and not self.momentum:
            raise InputError("Expected a momentum above 0 with nesterov, got 0.")
