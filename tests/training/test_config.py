"""Configurations of training: values are of their types, and a run is resumed only with what it began with."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from vtok.errors import ConfigError, WeightsError
from vtok.model.weights import load_weights
from vtok.training.config import load_config
from vtok.training.loop import TrainingRun


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[data]\nbatch_size = "four"', r"batch_size of \[data\] is 'four': Input should be a valid integer"),
        ('[data]\nbatch_size = "4"', r"batch_size of \[data\] is '4': Input should be a valid integer"),
        ("[data]\nbatch_size = 4.5", r"batch_size of \[data\] is 4.5: Input should be a valid integer"),
        ("[data]\nbatch_size = 2026-01-01", r"batch_size of \[data\] is .*: Input should be a valid integer"),
        ("[schedule]\nprior_only = 1", r"prior_only of \[schedule\] is 1: Input should be a valid boolean"),
        ("[optimizer]\nbetas = [0.9]", r"betas of \[optimizer\] is \[0.9\]: Field required"),
        ('[model]\nprior_groups = [16, "a"]', r"prior_groups of \[model\] is \[16, 'a'\]: .* valid integer"),
        ("data = 3", r"data is 3; expected a table, \[data\]"),
    ],
)
def test_values_of_other_types_are_refused(text, message, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"^{path}: {message}$"):
        load_config(path)


def test_values_of_the_right_types_are_taken(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text("[optimizer]\nlearning_rate = 1\nbetas = [0.5, 0]\n[schedule]\nprior_only = true")
    config = load_config(path)
    assert (config.optimizer.learning_rate, config.optimizer.betas) == (1.0, (0.5, 0.0))
    assert config.schedule.prior_only is True
    assert load_config().model.prior_groups == (16, 64, 128, 256, 384)


def test_a_run_is_resumed_with_the_settings_that_it_began_with(folders, tmp_path):
    _root, config, caches = folders

    def run(config):
        return TrainingRun(config, tmp_path, train=caches["train"], validation=caches["validation"])

    run(config).save()
    for other, message in (
        (replace(config, optimizer=replace(config.optimizer, warmup_steps=7)), r"warmup_steps of \[optimizer\] is"),
        (replace(config, schedule=replace(config.schedule, prior_only=True)), r"prior_only of \[schedule\] is False"),
        (replace(config, model=replace(config.model, finest_lambda=0.5)), r"finest_lambda of \[model\] is .* 0.5 now"),
    ):
        with pytest.raises(ConfigError, match=rf"checkpoint.pt: {message}.* give another folder$"):
            run(other)
    run(replace(config, schedule=replace(config.schedule, validate_every_minutes=9.0, log_every_steps=1)))


@pytest.mark.parametrize(
    ("stored", "message"), [("{", "is not JSON"), (json.dumps([1]), r"is \[1\]; expected an object")]
)
def test_weights_with_a_damaged_configuration_are_one_line(stored, message, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"vtok_config": stored})
    with pytest.raises(WeightsError, match=f"^{path}: its configuration {message}"):
        load_weights(path)
