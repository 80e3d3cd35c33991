"""The training engine's order of samples, optimizers, schedules and processes."""

import math

import pytest
import torch
from toy_training import FIT

from medvial.errors import InputError
from medvial_training import distributed, fit, loaders
from medvial_training.checkpoints import PatientStopping
from medvial_training.fit import EpochSampler, FitArgs
from medvial_training.optimize import make_optimizer, make_schedule


def as_rank(monkeypatch, rank, processes):
    monkeypatch.setattr(loaders, "rank_and_size", lambda: (rank, processes))


def steps(monkeypatch, processes, batch, size=29, accumulate=1, epoch=3):
    """The set of samples of each step, over all processes."""
    shares = []
    for rank in range(processes):
        as_rank(monkeypatch, rank, processes)
        sampler = EpochSampler(size, 5, batch=batch, accumulate=accumulate)
        sampler.set_epoch(epoch)
        indices = [index for _, index in sampler]
        assert len(indices) == len(sampler)
        width = batch * accumulate
        shares.append([indices[i : i + width] for i in range(0, len(indices), width)])
    return [set().union(*step) for step in zip(*shares, strict=True)]


def test_a_step_sees_the_same_samples_whatever_the_number_of_processes(monkeypatch):
    alone = steps(monkeypatch, 1, 8)
    assert [len(step) for step in alone] == [8, 8, 8]
    assert alone == steps(monkeypatch, 2, 4) == steps(monkeypatch, 4, 2)
    assert alone == steps(monkeypatch, 2, 2, accumulate=2)
    assert alone != steps(monkeypatch, 1, 8, epoch=4)


def test_a_small_set_still_gives_every_process_as_many_samples(monkeypatch):
    assert [len(s) for s in steps(monkeypatch, 2, 8, size=7)] == [6]
    as_rank(monkeypatch, 0, 3)
    with pytest.raises(InputError, match="one training sample for each of 3 processes, got 2"):
        EpochSampler(2, 1)


def test_validation_sees_each_sample_once(monkeypatch):
    seen = []
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        for batch in loaders.validation_loader(list(range(10)), FitArgs(**FIT)):
            seen += batch.tolist()
    assert sorted(seen) == list(range(10))
    with pytest.raises(InputError, match="one validation sample for each of 3 processes, got 2"):
        loaders.validation_loader([1, 2], FitArgs(**FIT))


def rates(steps=20, per_epoch=5, **options):
    args = FitArgs(**{**FIT, "learning_rate": 0.1, **options})
    optimizer = make_optimizer(torch.nn.Linear(2, 1), args)
    schedule = make_schedule(optimizer, args, steps, per_epoch)
    result = []
    for _ in range(steps):
        result.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return result


def test_schedules_have_known_values():
    assert rates(schedule="constant") == [0.1] * 20
    step = rates(schedule="step", step_epochs=2, step_factor=0.5)
    assert step == pytest.approx([0.1] * 10 + [0.05] * 10)
    cosine = rates(schedule="cosine", warmup=0.2)
    assert cosine[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert cosine[12] == pytest.approx(0.05)  # half of the 16 falling steps
    assert cosine[-1] == pytest.approx(0.05 * (1 + math.cos(math.pi * 15 / 16)))
    cycle = rates()
    assert max(cycle) == pytest.approx(0.1, rel=0.02)
    assert cycle.index(max(cycle)) in (2, 3)
    assert cycle[-1] < 1e-5


@pytest.mark.parametrize(
    ("options", "kind", "expected"),
    [
        ({}, torch.optim.AdamW, {"weight_decay": 0.01}),
        ({"optimizer": "adam", "weight_decay": 0.0}, torch.optim.Adam, {"weight_decay": 0.0}),
        (
            {"optimizer": "sgd", "momentum": 0.8, "nesterov": True, "schedule": "cosine"},
            torch.optim.SGD,
            {"momentum": 0.8, "nesterov": True},
        ),
    ],
)
def test_optimizers_get_their_options(options, kind, expected):
    net = torch.nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    optimizer = make_optimizer(net, FitArgs(**options))
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(net.weight)]
    assert expected.items() <= group.items()


def test_patience_lasts_as_long_as_it_says(tmp_path):
    args = FitArgs(patience=7, validate_every=3)
    callbacks = fit._callbacks(args, tmp_path, "valid/mae", "min", tracked=False)
    (stopping,) = (c for c in callbacks if isinstance(c, PatientStopping))
    assert stopping.patience == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "Expected accumulate of at least 1, got 0"),
        ({"devices": 0}, "Expected devices of at least 1, got 0"),
        ({"momentum": 1.0}, "Expected momentum from 0 to below 1, got 1.0"),
        ({"optimizer": "sgd", "momentum": 0.8}, "no momentum with sgd and one_cycle, .* got 0.8"),
        ({"max_epochs": 3, "validate_every": 4}, "at most max_epochs, 3, got 4"),
        ({"seed": -1}, "Expected seed from 0 to below"),
        ({"learning_rate": math.nan}, "Expected a learning_rate above 0, got nan"),
        ({"learning_rate": math.inf}, "Expected a learning_rate above 0, got inf"),
        ({"step_factor": -1.0}, "Expected step_factor of at least 0, got -1"),
        ({"step_factor": math.nan}, "Expected step_factor of at least 0, got nan"),
        ({"warmup": -0.1}, "Expected warmup from 0 to below 1"),
        ({"save_every": -1}, "Expected save_every of at least 0"),
        ({"nesterov": True, "momentum": 0.0}, "Expected a momentum above 0 with nesterov"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        FitArgs(**options)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (1, 1)),
        ({"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6"}, (2, 3)),
        (
            {
                "SLURM_JOB_NAME": "train",
                "SLURM_NTASKS": "8",
                "SLURM_NTASKS_PER_NODE": "4",
                "SLURM_NNODES": "2",
                "SLURM_STEP_ID": "0",
            },
            (4, 2),
        ),
    ],
)
def test_processes_are_as_the_launcher_started_them(environment, expected, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.layout(FitArgs(**FIT)) == expected
    if environment:
        with pytest.raises(InputError, match="Expected the devices and num_nodes that"):
            distributed.layout(FitArgs(**{**FIT, "devices": 5}))


def test_what_needs_a_gpu_says_so():
    with pytest.raises(InputError, match="Expected sync_batchnorm with GPUs, got the CPU"):
        distributed.layout(FitArgs(**FIT, sync_batchnorm=True))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="a GPU for each of 2 processes, got 0"):
            distributed.layout(FitArgs(**{**FIT, "accelerator": "gpu", "devices": 2}))
