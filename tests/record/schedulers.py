"""Records diffusers' sampling trajectories and torch's noise into tests/fixtures/schedulers.safetensors.

Each case drives one scheduler from x_T to the end with a model that is a formula (`model` here, `fake_model` in
tests/it/schedulers/parity.rs), on a latent of eight values. The fixture's metadata describes each case; its
tensor has one row per step: timestep, sigma, prev_sample (8), pred_original_sample (8).
"""

import json
import math
import pathlib
import warnings

import diffusers
import torch
from safetensors.torch import save_file

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert diffusers.__version__ == "0.42.1", diffusers.__version__
warnings.filterwarnings("ignore")
diffusers.logging.set_verbosity_error()

FIXTURE = pathlib.Path(__file__).parent.parent / "fixtures" / "schedulers.safetensors"
SEED = 20240229
SHAPE = (1, 4, 1, 2)
MOST_STEPS = 100
KINDS = {
    "euler-ancestral": diffusers.EulerAncestralDiscreteScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "ddim": diffusers.DDIMScheduler,
    "dpm-solver++-2m": diffusers.DPMSolverMultistepScheduler,
    "lcm": diffusers.LCMScheduler,
}
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}

# Configurations as published or as saved, each swapped to every kind as a user would.
NAMED = {
    # No timestep_spacing, and what PNDM left behind.
    "ip2p": SD
    | {
        "_class_name": "EulerAncestralDiscreteScheduler",
        "clip_sample": False,
        "prediction_type": "epsilon",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    },
    "demo": SD
    | {
        "_class_name": "EulerAncestralDiscreteScheduler",
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": False,
        "steps_offset": 1,
        "timestep_spacing": "linspace",
        "trained_betas": None,
    },
    "sd21": SD
    | {
        "_class_name": "DDIMScheduler",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    },
    "zero-snr": SD
    | {
        "_class_name": "DDIMScheduler",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": True,
        "timestep_spacing": "trailing",
    },
    "pndm": SD
    | {
        "_class_name": "PNDMScheduler",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    },
    "sigma-min": SD
    | {"_class_name": "EulerDiscreteScheduler", "final_sigmas_type": "sigma_min", "clip_sample_range": 2.0},
    "defaults": {"_class_name": "EulerDiscreteScheduler"},
    "cosine": {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
    },
    "trained": {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": 60,
        "trained_betas": [round(0.001 * (1 + index), 6) for index in range(60)],
        "prediction_type": "v_prediction",
    },
}


def model(scaled, timestep):
    return torch.tanh(0.3 * scaled) + 0.1 * math.sin(timestep)


def trajectory(kind, config, steps):
    own = getattr(diffusers, config["_class_name"]).from_config(config)
    scheduler = KINDS[kind].from_config(own.config)
    scheduler.set_timesteps(steps)
    assert len(scheduler.timesteps) == steps, (kind, steps)
    if kind not in ("ddim", "lcm"):
        # Else the first of several equal timesteps, as a curve of noise levels may have them, is passed over.
        scheduler.set_begin_index(0)
    init_noise_sigma = float(scheduler.init_noise_sigma)
    generator = torch.Generator("cpu").manual_seed(SEED)
    sample = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    rows = []
    for index, timestep in enumerate(scheduler.timesteps):
        if kind in ("ddim", "lcm"):
            alpha = scheduler.alphas_cumprod[timestep]
            sigma = ((1 - alpha) / alpha) ** 0.5
        else:
            sigma = scheduler.sigmas[index]
        output = model(scheduler.scale_model_input(sample, timestep), float(timestep))
        if kind == "dpm-solver++-2m":
            # Its step keeps the clean sample to itself.
            sample = scheduler.step(output, timestep, sample).prev_sample
            clean = scheduler.model_outputs[-1]
        else:
            extra = {"generator": generator} if kind in ("euler-ancestral", "lcm") else {}
            stepped = scheduler.step(output, timestep, sample, **extra)
            sample = stepped.prev_sample
            clean = stepped.denoised if kind == "lcm" else stepped.pred_original_sample
        assert sample.isfinite().all() and clean.isfinite().all(), (kind, config, steps, index)
        row = [float(timestep), float(sigma), *sample.flatten().tolist(), *clean.flatten().tolist()]
        rows.append(torch.tensor(row, dtype=torch.float32))
    return torch.stack(rows), init_noise_sigma


def cases():
    for spacing in ("linspace", "leading", "trailing"):
        for prediction in ("epsilon", "v_prediction", "sample"):
            config = SD | {
                "_class_name": "DDIMScheduler",
                "clip_sample": False,
                "prediction_type": prediction,
                "timestep_spacing": spacing,
            }
            for kind in KINDS:
                if (kind, prediction) == ("euler-ancestral", "sample"):
                    continue  # diffusers has not written it
                for steps in (1, 2, 5, 20):
                    yield f"{kind}/{spacing}/{prediction}", kind, config, steps
    for name, config in NAMED.items():
        for kind in KINDS:
            yield f"{kind}/{name}", kind, config, 50 if name in ("ip2p", "demo", "sd21", "zero-snr") else 20
    for kind in KINDS:
        if kind != "lcm":  # It has at most as many as a network is distilled on, 50.
            yield f"{kind}/ip2p", kind, NAMED["ip2p"], MOST_STEPS
    # Noise levels along a curve of their own.
    for curve in ("karras", "exponential", "beta"):
        for kind in ("euler", "dpm-solver++-2m"):
            for name in ("ip2p", "demo", "zero-snr", "sigma-min", "cosine", "trained"):
                for steps in (5, 20):
                    yield f"{kind}/{curve}/{name}", kind, NAMED[name] | {f"use_{curve}_sigmas": True}, steps
            bounded = NAMED["demo"] | {"sigma_min": 0.05, "sigma_max": 12.0, f"use_{curve}_sigmas": True}
            yield f"{kind}/{curve}/bounded", kind, bounded, 20
            yield f"{kind}/{curve}/one", kind, NAMED["demo"] | {f"use_{curve}_sigmas": True}, 1
            yield f"{kind}/{curve}/many", kind, NAMED["demo"] | {f"use_{curve}_sigmas": True}, MOST_STEPS
    # Where DPM-Solver's last step is of second order, and where it is not.
    solver = SD | {"_class_name": "DPMSolverMultistepScheduler", "final_sigmas_type": "sigma_min"}
    yield "dpm/high-order-final", "dpm-solver++-2m", solver | {"lower_order_final": False}, 5
    yield "dpm/low-order-final", "dpm-solver++-2m", solver, 5
    yield "dpm/euler-at-final", "dpm-solver++-2m", solver | {"euler_at_final": True}, 20
    # What consistency models are distilled by, other than by default.
    distilled = NAMED["ip2p"] | {"_class_name": "LCMScheduler"}
    yield "lcm/own", "lcm", distilled, 4
    yield "lcm/thirty", "lcm", distilled | {"original_inference_steps": 30, "timestep_scaling": 0.01}, 8
    yield "lcm/clipped", "lcm", distilled | {"clip_sample": True, "clip_sample_range": 0.5}, 4


def main():
    tensors, described, tapes = {}, [], []
    generator = torch.Generator("cpu").manual_seed(SEED)
    tensors["noise"] = torch.stack([torch.randn(SHAPE, generator=generator) for _ in range(MOST_STEPS + 1)])
    for name, kind, config, steps in cases():
        rows, init_noise_sigma = trajectory(kind, config, steps)
        key = f"{name}/{steps}"
        assert key not in tensors
        tensors[key] = rows
        case = {"key": key, "kind": kind, "config": config, "steps": steps, "init_noise_sigma": init_noise_sigma}
        described.append(case)
    for seed in (0, 42, 2**63 + 5, 2**64 - 1):
        for shape in ((1, 4, 8, 8), (1, 4, 5, 3)):
            generator = torch.Generator("cpu").manual_seed(seed)
            key = f"tape/{seed}/{shape[2]}x{shape[3]}"
            tensors[key] = torch.stack([torch.randn(shape, generator=generator) for _ in range(3)])
            tapes.append({"key": key, "seed": seed, "shape": shape})
    save_file(tensors, FIXTURE, {"cases": json.dumps(described), "tapes": json.dumps(tapes)})
    print(f"{FIXTURE}: {len(described)} trajectories, seed {SEED}, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
