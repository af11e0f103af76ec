"""Adversarial networks: shapes, one update by hand, the count of steps, resume, modes, ranks."""

from __future__ import annotations

import copy
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.blocks.adversarial import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.ring import Ring
from paceline.lightning_modules.gan import DCGAN, GAN
from paceline.lightning_modules.networks.gan_networks import pyramid
from paceline.platform.training.optimization import set_optimizer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3, "betas": [0.5, 0.999]}}
COSINE = {"class_path": "paceline.lightning_modules.blocks.schedules.CosineDecay"}
SMALL = {"in_features": 2, "noise_size": 4, "hidden_sizes": [8]}


def silent(**arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults = {"accelerator": "cpu", "enable_checkpointing": False, "num_sanity_val_steps": 0}
    return pl.Trainer(**{**defaults, **quiet, **arguments})


def ring_of(size: int = 400, batch_size: int = 32) -> Ring:
    return Ring(num_samples=size, batch_size=batch_size, drop_last=True)


def model_of(data=None, schedule=None, seed: int = 1, **arguments) -> GAN:
    pl.seed_everything(seed, verbose=False)
    modes = {"mode_centres": data.mode_centres, "mode_std": data.mode_std} if data else {}
    model = GAN(**{**SMALL, **modes, **arguments})
    set_optimizer(model, ADAM, schedule)
    return model


def reseeded(model: GAN) -> GAN:
    """The model, which draws from seed 3 on once it is trained, whatever was drawn before."""
    model.on_train_epoch_start = lambda: torch.manual_seed(3)
    return model


@pytest.mark.parametrize(
    ("shape", "start"), [([1, 28, 28], (7, 7)), ([3, 32, 32], (4, 4)), ([1, 8, 12], (4, 6))]
)
def test_sizes_of_the_deconvolutions_follow_the_picture(shape, start):
    model = DCGAN(in_shape=shape, noise_size=5, channels=4)
    assert pyramid(shape, 4)[1][1:] == start
    made = model(torch.randn(3, 5))
    assert made.shape == (3, *shape)
    assert 0 <= made.min() < made.max() <= 1
    assert model.predict_step((torch.zeros(3, *shape), None))["score"].shape == (3,)


def test_dcgan_normalises_everywhere_but_next_to_the_picture():
    model = DCGAN(in_shape=[3, 32, 32], channels=4)
    for network, layers in ((model.generator, 3), (model.discriminator, 2)):
        assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == layers
    critic = DCGAN(in_shape=[3, 32, 32], channels=4, loss="wgan_gp").discriminator
    assert not any(isinstance(m, nn.BatchNorm2d) for m in critic.modules())


def test_real_pictures_are_seen_on_the_generators_scale():
    model = DCGAN(in_shape=[1, 8, 8], channels=2, pixel_mean=0.25, pixel_std=0.5)
    pixels = torch.rand(4, 1, 8, 8)
    seen = model.seen((pixels - 0.25) / 0.5)
    torch.testing.assert_close(seen, 2 * pixels - 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", ["non_saturating", "wgan_gp"])
def test_one_step_is_the_two_updates_written_out(loss):
    data = ring_of()
    model = reseeded(model_of(data, loss=loss))
    generator, discriminator = copy.deepcopy((model.generator, model.discriminator))
    trainer = silent(max_steps=1, max_epochs=1, limit_val_batches=0)
    x, _ = next(iter(data.train_dataloader()))
    trainer.fit(model, data)

    torch.manual_seed(3)
    adams = [
        torch.optim.Adam(n.parameters(), 1e-3, (0.5, 0.999)) for n in (generator, discriminator)
    ]
    fake = generator(torch.randn(32, 4))
    judged = discriminator_loss(discriminator(x), discriminator(fake.detach()), loss)
    if loss == "wgan_gp":
        judged = judged + 10 * gradient_penalty(discriminator, x, fake.detach(), torch.rand(32))
    judged.backward()
    adams[1].step()
    generator_loss(discriminator(fake), loss).backward()
    adams[0].step()
    for found, expected in ((model.generator, generator), (model.discriminator, discriminator)):
        for p, q in zip(found.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_is_one_update_of_the_generator_whatever_the_discriminator_does(steps):
    data, updates = ring_of(), {"generator": 0, "discriminator": 0}
    model = model_of(data, schedule=COSINE, discriminator_steps=steps)
    minimise = model.minimise

    def counted(loss, group, **options):
        updates[group] += 1
        minimise(loss, group, **options)

    model.minimise = counted
    trainer = silent(max_steps=7, max_epochs=-1)
    trainer.fit(model, data)
    assert updates == {"generator": 7, "discriminator": 7 * steps}
    assert trainer.global_step == 7 == trainer.fit_loop.epoch_loop._batches_that_stepped
    for config in trainer.lr_scheduler_configs:
        assert config.scheduler.total_steps == config.scheduler.last_epoch == 7
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_schedules_of_epochs_move_once_an_epoch():
    data = ring_of()
    halving = {
        "class_path": "torch.optim.lr_scheduler.StepLR",
        "init_args": {"step_size": 1, "gamma": 0.5},
    }
    model = model_of(data, schedule=halving, discriminator_lr_factor=4.0)
    trainer = silent(max_epochs=3)
    trainer.fit(model, data)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
    assert rates == pytest.approx([1e-3 / 8, 4e-3 / 8])


def test_gradients_of_each_network_are_clipped_to_their_own_norm():
    data, norms = ring_of(), []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            for parameters in pl_module.parameter_groups().values():
                norms.append(nn.utils.get_total_norm([p.grad for p in parameters]).item())

    model = model_of(data, gradient_clip_val=1e-3)
    silent(max_epochs=1, callbacks=[Watch()]).fit(model, data)
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-3)


# What is saved after a step is what a run goes on from; Lightning would have it saved before.
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_run_goes_on_to_the_bit_in_the_middle_of_an_epoch(tmp_path):
    def run(ckpt_path=None):
        data = ring_of()
        model = model_of(data, schedule=COSINE, discriminator_steps=2, dropout=0.2)
        keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
        options = {"enable_checkpointing": True, "callbacks": [keep], "max_epochs": 2}
        trainer = silent(**options)
        trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return model, trainer

    whole, trainer = run()
    assert trainer.num_training_batches == 10
    resumed, again = run(tmp_path / "step=4.ckpt")
    assert again.global_step == trainer.global_step == 20
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert trainer.callback_metrics == again.callback_metrics
    states = [[o.state_dict()["state"] for o in t.optimizers] for t in (trainer, again)]
    for first, second in zip(*states, strict=True):
        for key, moments in first.items():
            assert torch.equal(moments["exp_avg"], second[key]["exp_avg"])


def test_snapshots_show_the_same_noise_and_draw_nothing_from_the_global_generator():
    model = model_of(ring_of())
    before = torch.get_rng_state()
    first, second = (model.snapshots()["samples"].axes[0].collections[0] for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert (first.get_offsets() == second.get_offsets()).all()
    one, other = (model.sample(seed=s, count=9)["samples"] for s in (1, 2))
    places = [figure.axes[0].collections[0].get_offsets() for figure in (one, other)]
    assert (places[0] != places[1]).any()
    assert model.training


def test_a_classifiers_features_are_those_before_its_last_layer(tmp_path):
    from paceline.lightning_modules.mlp import MLP

    data = Digits(batch_size=64)
    pl.seed_everything(1, verbose=False)
    classifier = MLP(in_shape=[1, 8, 8], num_classes=10, hidden_sizes=[12])
    classifier.configure_optimizers = lambda: torch.optim.Adam(classifier.parameters(), 1e-2)
    keep = ModelCheckpoint(tmp_path, filename="classifier")
    silent(max_epochs=2, callbacks=[keep], enable_checkpointing=True).fit(classifier, data)
    scale = {"pixel_mean": data.pixel_mean, "pixel_std": data.pixel_std}
    path = str(tmp_path / "classifier.ckpt")
    features = {"feature_checkpoint": path, "feature_family": "MLP"}
    model = GAN(in_shape=[1, 8, 8], noise_size=4, hidden_sizes=[8], **scale, **features)
    (found,) = silent().validate(model, data, verbose=False)
    x = data.splits.val.inputs
    expected = nn.Sequential(*list(classifier.eval().network)[:-1])(x)
    torch.testing.assert_close(model._comparison._classifier(x), expected)
    for name in ("raw", "classifier"):
        for measure in ("frechet_distance", "precision", "recall"):
            assert f"val/{name}_{measure}" in found
    assert not any("comparison" in name for name in model.state_dict())
    with pytest.raises(ValueError, match="checkpoints that exist"):
        silent().validate(GAN(**SMALL, feature_checkpoint="nowhere.ckpt"), data, verbose=False)


def test_generated_digits_come_nearer_to_the_real_ones_in_a_few_epochs():
    pl.seed_everything(1, verbose=False)
    data = Digits(batch_size=64, drop_last=True)
    scale = {"pixel_mean": data.pixel_mean, "pixel_std": data.pixel_std}
    model = GAN(in_shape=[1, 8, 8], noise_size=32, hidden_sizes=[128, 128], dropout=0.3, **scale)
    set_optimizer(model, ADAM, None)
    before = silent().validate(model, data, verbose=False)[0]["val/raw_frechet_distance"]
    trainer = silent(max_epochs=10)
    trainer.fit(model, data)
    assert trainer.callback_metrics["val/raw_frechet_distance"] < before / 2


def _rank(rank: int, port: int, folder: str) -> None:
    """One of two processes that play together."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": "1",
    }
    torch.set_num_threads(1)
    data = ring_of(batch_size=16)
    model = reseeded(model_of(data, discriminator_steps=2, loss="wgan_gp"))
    strategy = pl.strategies.DDPStrategy(process_group_backend="gloo")
    trainer = silent(max_epochs=1, devices=2, strategy=strategy, use_distributed_sampler=False)
    trainer.fit(model, data)
    torch.save(model.state_dict(), Path(folder, f"{rank}.pt"))


@pytest.mark.slow
def test_two_processes_make_the_updates_of_one_with_a_batch_twice_as_large(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = "import runpy, sys; _, file, rank, port, folder = sys.argv; "
    call += "runpy.run_path(file)['_rank'](int(rank), int(port), folder)"
    commands = [[sys.executable, "-c", call, __file__, str(r), str(port), tmp_path] for r in (0, 1)]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait(timeout=200) for process in running] == [0, 0]
    data = ring_of(batch_size=32)
    alone = reseeded(model_of(data, discriminator_steps=2, loss="wgan_gp"))
    silent(max_epochs=1).fit(alone, data)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, weight in alone.state_dict().items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], weight, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "wgan"}, "`loss` must be one of non_saturating, minimax, wgan_gp, hinge, but"),
        ({"penalty_weight": 5.0}, "`penalty_weight` must be left at 10.0 unless `loss` is wgan_gp"),
        ({"discriminator_steps": 0}, "`discriminator_steps` must be at least 1, but is 0."),
        ({"discriminator_lr_factor": 0.0}, "`discriminator_lr_factor` must be a positive number"),
        ({"gradient_clip_val": 0.0}, "`gradient_clip_val` must be above 0, but is 0.0."),
        ({"noise_size": 0}, "`noise_size` must be at least 1, but is 0."),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
        ({"hidden_sizes": [0]}, "`hidden_sizes` must be whole numbers of at least 1, but is [0]."),
        ({"mode_std": 0.1}, "`mode_std` must be left out without `mode_centres`, but is 0.1."),
        ({"mode_centres": [[0.0, 0.0, 1.0]], "mode_std": 0.1}, "`mode_centres` must be at least "),
    ],
)
def test_arguments_out_of_range_or_without_effect_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        GAN(**{**SMALL, **arguments})
    assert str(caught.value).startswith(message)


def test_pictures_that_cannot_be_halved_and_a_critic_with_batch_norm_are_refused():
    with pytest.raises(ValueError, match="`in_shape` must be pictures whose sides are even"):
        DCGAN(in_shape=[1, 9, 9])
    with pytest.raises(ValueError, match="`discriminator_batch_norm` must be false under wgan_gp"):
        DCGAN(in_shape=[1, 8, 8], loss="wgan_gp", discriminator_batch_norm=True)
