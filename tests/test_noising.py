"""The forward processes against diffusers' schedulers; inversion against predictors that know the answer."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

import tiny_models
from tracedge.backbones import flow
from tracedge.backbones.ddpm import DDPM
from tracedge.backbones.inversion import invert
from tracedge.errors import BackboneError, SettingsError

CONFIGS = [
    {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "rescale_betas_zero_snr": True},
]


def draw(seed: int, *shape: int):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", CONFIGS)
def test_ddpm_noise_is_that_of_diffusers_own_scheduler(config):
    from diffusers import DDIMScheduler

    process, latents, noise = DDPM.from_config(config), draw(0, 3, 4, 5, 6), draw(1, 3, 4, 5, 6)
    steps = torch.tensor([1, 500, 999])
    expected = DDIMScheduler(**config).add_noise(latents, noise, steps)
    torch.testing.assert_close(process.add_noise(latents, steps.float(), noise), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler"])
def test_the_training_noise_is_read_from_the_config_of_any_sampler(name):
    import diffusers

    sampler = getattr(diffusers, name)(**CONFIGS[0])
    torch.testing.assert_close(DDPM.from_config(dict(sampler.config)).alphas[1:], sampler.alphas_cumprod[1:])


def test_epsilon_and_v_models_share_one_forward_process():
    plain, velocity = (DDPM.from_config(CONFIGS[0] | {"prediction_type": kind}) for kind in ("epsilon", "v_prediction"))
    args = draw(0, 1, 4, 2, 2), torch.tensor([321.0]), draw(1, 1, 4, 2, 2)
    assert torch.equal(plain.add_noise(*args), velocity.add_noise(*args))


@pytest.mark.parametrize("config", [{"prediction_type": "sample", **CONFIGS[0]}, {"_class_name": "EDMEulerScheduler"}])
def test_what_is_not_ddpm_is_refused(config):
    with pytest.raises(BackboneError, match=r"predicts epsilon or v_prediction|has no betas"):
        DDPM.from_config(config)


@pytest.mark.parametrize("step", [-1.0, 1000.0, 0.5])
def test_ddpm_has_whole_timesteps_only(step):
    with pytest.raises(SettingsError, match="whole and from 0 to 999"):
        DDPM.from_config(CONFIGS[0]).add_noise(draw(0, 1, 4, 2, 2), torch.tensor([step]), draw(1, 1, 4, 2, 2))


@pytest.mark.parametrize("kind", tiny_models.KINDS)
def test_rows_at_timestep_zero_come_back_clean(tiny_backbone, kind):
    backbone, latents, noise = tiny_backbone(kind), draw(0, 2, 4, 3, 5), draw(1, 2, 4, 3, 5)
    noisy = backbone.process.add_noise(latents, torch.tensor([0.0, 700.0]), noise)
    assert torch.equal(noisy[0], latents[0]) and not torch.equal(noisy[1], latents[1])
    log_snr = backbone.process.log_snr(backbone.process.timesteps(250))
    assert log_snr[0] == math.inf and bool((log_snr.diff() < 0).all())


def test_flow_noise_is_the_straight_line():
    latents, noise = draw(0, 2, 4, 3, 5), draw(1, 2, 4, 3, 5)
    noisy = flow.add_noise(latents, torch.tensor([250.0, 1000.0]), noise)
    torch.testing.assert_close(noisy[0], 0.75 * latents[0] + 0.25 * noise[0])
    torch.testing.assert_close(noisy[1], noise[1])
    torch.testing.assert_close(flow.log_snr(torch.tensor([500.0, 800.0])), torch.tensor([0.0, 2 * math.log(0.25)]))


def test_log_snr_of_ddpm_is_the_ratio_of_the_powers():
    process = DDPM.from_config(CONFIGS[0])
    one, nothing = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    step = torch.tensor([600.0])
    signal, noise = process.add_noise(one, step, nothing), process.add_noise(nothing, step, one)
    torch.testing.assert_close(process.log_snr(step), 2 * torch.log(signal / noise).reshape(1))


def oracle(process, latents, noise, predict):
    """A backbone that always predicts as if the noise were `noise`."""
    return SimpleNamespace(denoise=lambda _, timestep: predict(latents, timestep, noise), process=process)


def velocity(latents, timestep, noise):
    alpha = DDPM.from_config(CONFIGS[0]).alphas[timestep.long()].reshape(-1, 1, 1, 1)
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


@pytest.mark.parametrize(
    ("process", "predict"),
    [
        (DDPM.from_config(CONFIGS[0]), lambda latents, timestep, noise: noise),
        (DDPM.from_config(CONFIGS[0] | {"prediction_type": "v_prediction"}), velocity),
        (flow, lambda latents, timestep, noise: noise - latents),
    ],
    ids=["epsilon", "v", "flow"],
)
def test_inversion_with_an_oracle_is_the_forward_process(process, predict):
    latents, noise, steps = draw(0, 2, 4, 3, 5), draw(1, 2, 4, 3, 5), torch.arange(0, 1000, 100)
    climbed = list(invert(oracle(process, latents, noise, predict), latents, steps))
    assert [step for step, _ in climbed] == steps.tolist()
    for step, found in climbed:
        expected = process.add_noise(latents, torch.full((2,), step), noise)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_inversion_of_a_linear_flow_follows_its_known_solution():
    linear = SimpleNamespace(denoise=lambda latents, _: latents, process=flow)
    *_, (_, last) = invert(linear, torch.ones(1, 1, 1, 1), torch.arange(0, 1000, 2))  # dx / dsigma = x
    torch.testing.assert_close(last, torch.full((1, 1, 1, 1), math.exp(0.998)), rtol=2e-3, atol=0)


@pytest.mark.parametrize("kind", ["sd21", "flux-dev"])
def test_inversion_of_a_network_needs_one_forward_a_step_and_is_deterministic(tiny_backbone, kind):
    backbone, latents, forwards = tiny_backbone(kind), draw(0, 1, 4, 4, 6), []
    handle = backbone.network.register_forward_hook(lambda *_: forwards.append(1))
    first = list(invert(backbone, latents, torch.tensor([0, 200, 500])))
    handle.remove()
    assert len(forwards) == 2 and torch.equal(first[0][1], latents)
    again = list(invert(backbone, latents, torch.tensor([0, 200, 500])))
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(first, again, strict=True))


@pytest.mark.parametrize("steps", [[], [100, 0], [0, 0], [-1, 5]])
def test_inversion_only_goes_up(steps):
    with pytest.raises(SettingsError, match="goes up"):
        invert(SimpleNamespace(), torch.zeros(1, 1, 1, 1), torch.tensor(steps))
