"""Makes small LoRA files in every layout that is read, and records what diffusers and PEFT make of them.

    python tests/record/lora.py

Weights are random, and the models are those of tests/record/models.py, and a FLUX.2 transformer of tiny sizes. Of each case
`tests/fixtures/lora/record.safetensors` keeps outputs of the merged networks, of FLUX.2 the merged matrices themselves.
"""

import json
import re
import warnings
from pathlib import Path

import diffusers
import peft
import torch
from diffusers import Flux2Transformer2DModel, StableDiffusionInstructPix2PixPipeline
from diffusers.loaders import Flux2LoraLoaderMixin
from safetensors.torch import load_file, save_file

PINNED = {"torch": ("2.11.0", torch), "diffusers": ("0.42.1", diffusers), "peft": ("0.21.2", peft)}
SEED = 24
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
OUT = FIXTURES / "lora"
RANK = 2
# Modules of the U-Net that a LoRA may change, beside the attention.
LAYERS = ("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut", "time_emb_proj")
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
RESNET = {"conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def main():
    for name, (version, module) in PINNED.items():
        found = module.__version__.split("+")[0]
        assert found == version, f"{name} is {found}, the fixtures are recorded with {version}"
    warnings.filterwarnings("ignore")
    torch.manual_seed(SEED)
    OUT.mkdir(exist_ok=True)
    record = {}
    for model in ("sd1", "linear"):
        for name, file, loaders in stable_diffusion(model):
            record |= {f"{model}.{name}.{key}": it for key, it in outputs(model, file, loaders).items()}
    record |= flux2()
    save_file({key: it.contiguous() for key, it in record.items()}, OUT / "record.safetensors")
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"seed {SEED}, {len(record)} tensors, {total / 1000:.0f} kB")


def pipeline(model):
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(FIXTURES / "models" / model, safety_checker=None)
    return pipe.to(torch.float32)


def weight(module, rank=RANK, dtype=torch.float16):
    """Random factors of a change, down and up, whose product is as large as the weight itself."""
    shape = module.weight.shape
    rows, kernel = shape[0], list(shape[1:])
    down = torch.randn([rank, *kernel]) / (module.weight[0].numel() ** 0.5)
    up = torch.randn([rows, rank] + [1] * (len(kernel) - 1))
    return down.to(dtype), (0.5 * up).to(dtype)


def unet_modules(pipe, ends):
    return {name: it for name, it in pipe.unet.named_modules() if name.endswith(ends) and hasattr(it, "weight")}


def text_modules(pipe):
    modules = {name: it for name, it in pipe.text_encoder.named_modules() if name.endswith(TEXT)}
    return {name.removeprefix("text_model."): it for name, it in modules.items()}


def stable_diffusion(model):
    """Each file's name, path and the adapters that it is loaded with."""
    pipe = pipeline(model)
    attention = tuple(f"attn{number}.{it}" for number in (1, 2) for it in ATTENTION)
    every = attention + LAYERS + ("downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out", "linear_1", "linear_2")

    # kohya's: underscores, alphas, both networks.
    tensors = {}
    for name, module in unet_modules(pipe, every).items():
        put(tensors, f"lora_unet_{name.replace('.', '_')}", module, kohya=True)
    for name, module in text_modules(pipe).items():
        put(tensors, f"lora_te_text_model_{name.replace('.', '_')}", module, kohya=True)
    yield "kohya", write(model, "kohya", tensors, {"ss_network_dim": str(RANK), "ss_base_model_version": "sd_v1"}), None

    # The same with the original layout's block names.
    tensors = {}
    for name, module in unet_modules(pipe, attention + ("proj_in", "conv1", "time_emb_proj")).items():
        old = original(name, pipe.unet.config.layers_per_block)
        put(tensors, f"lora_unet_{old.replace('.', '_')}", module, kohya=True)
    yield "blocks", write(model, "blocks", tensors), None

    # PEFT's, with its configuration in diffusers' metadata.
    tensors = {}
    for name, module in unet_modules(pipe, attention).items():
        put(tensors, f"unet.{name}", module)
    for name, module in text_modules(pipe).items():
        if name.endswith(TEXT[:4]):
            put(tensors, f"text_encoder.text_model.{name}" if model == "sd1" else f"text_encoder.{name}", module)
    common = {"r": RANK, "lora_alpha": 1, "target_modules": list(ATTENTION), "peft_type": "LORA"}
    special = next(it for it in unet_modules(pipe, ("attn1.to_q",)))
    unet = common | {"alpha_pattern": {special: 2}, "use_rslora": True}
    text = common | {"target_modules": list(TEXT[:4])}
    adapter = {f"unet.{key}": it for key, it in unet.items()} | {f"text_encoder.{key}": it for key, it in text.items()}
    file = write(model, "peft", tensors, {"lora_adapter_metadata": json.dumps(adapter)})
    yield "peft", file, None

    # Of diffusers before PEFT: attention processors, and modules of their own.
    tensors = {}
    for name, module in unet_modules(pipe, attention).items():
        block, layer = name.rsplit(".attn", 1)
        number, layer = layer.split(".", 1)
        processor = f"unet.{block}.attn{number}.processor.{layer.removesuffix('.0')}_lora"
        put(tensors, processor, module, ends=(".down.weight", ".up.weight"))
    for name, module in unet_modules(pipe, ("ff.net.0.proj",)).items():
        put(tensors, f"unet.{name}", module, ends=(".lora.down.weight", ".lora.up.weight"))
    for name, module in text_modules(pipe).items():
        if name.endswith(TEXT[:4]):
            prefix = "text_encoder.text_model." if model == "sd1" else "text_encoder."
            put(tensors, prefix + name, module, ends=(".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"))
    yield "older", write(model, "older", tensors), None

    # Two at once, each with its weight.
    both = [(OUT / f"{model}-kohya.safetensors", 0.8), (OUT / f"{model}-older.safetensors", -0.5)]
    yield "two", None, both

    yield "lokr", write(model, "lokr", lokr(pipe, attention + ("conv1", "ff.net.2"))), "lokr"


def put(tensors, name, module, kohya=False, ends=None):
    down, up = weight(module)
    ends = ends or ((".lora_down.weight", ".lora_up.weight") if kohya else (".lora_A.weight", ".lora_B.weight"))
    tensors |= {name + ends[0]: down, name + ends[1]: up}
    if kohya:
        tensors[name + ".alpha"] = torch.tensor(1.0)


def original(name, layers):
    """A U-Net's module under the original layout's name."""
    kind, *rest = name.split(".")
    if kind == "mid_block":
        part, number, *rest = rest
        block = {("resnets", "0"): 0, ("attentions", "0"): 1, ("resnets", "1"): 2}[part, number]
        return ".".join(["middle_block", str(block), *[RESNET.get(it, it) for it in rest]])
    level, part, number, *rest = rest
    down = kind == "down_blocks"
    block = int(level) * (layers + 1) + int(number) + down
    way = "input_blocks" if down else "output_blocks"
    inner = {"resnets": "0", "attentions": "1"}[part]
    return ".".join([way, str(block), inner, *[RESNET.get(it, it) for it in rest]])


def lokr(pipe, ends):
    """Kronecker products, some of whole matrices and some of low rank, with alphas."""
    tensors = {}
    for index, (name, module) in enumerate(unet_modules(pipe, ends).items()):
        rows, columns, *kernel = module.weight.shape
        first, second = (2, 2), (rows // 2, columns // 2)
        key = f"lycoris_{name.replace('.', '_')}"
        tensors[f"{key}.lokr_w1"] = torch.randn(first).half()
        if index % 3 == 0:
            tensors[f"{key}.lokr_w2"] = (0.2 * torch.randn([*second, *kernel])).half()
        else:
            inner = second[1] * (kernel[0] * kernel[1] if kernel else 1)
            tensors[f"{key}.lokr_w2_a"] = (0.3 * torch.randn(second[0], RANK)).half()
            tensors[f"{key}.lokr_w2_b"] = (0.3 * torch.randn(RANK, inner)).half()
        tensors[f"{key}.alpha"] = torch.tensor(1.0)
    return tensors


def write(model, name, tensors, metadata=None):
    path = OUT / f"{model}-{name}.safetensors"
    save_file(tensors, path, metadata)
    return path


def outputs(model, file, loaders):
    """What the merged networks give for the inputs that tests/record/models.py recorded."""
    pipe = pipeline(model)
    if loaders == "lokr":
        merge_lokr(pipe.unet, load_file(file))
    else:
        files = loaders or [(file, 1.0)]
        for number, (path, _) in enumerate(files):
            load(pipe, path, f"a{number}")
        names = [f"a{number}" for number in range(len(files))]
        pipe.set_adapters(names, [scale for _, scale in files])
        pipe.fuse_lora(adapter_names=names)
    recorded = load_file(FIXTURES / "models" / f"{model}.record.safetensors")
    with torch.no_grad():
        sample, timesteps = recorded["even.sample"], recorded["even.timesteps"]
        prompts = recorded["text.last_hidden_state"]
        noise = pipe.unet(sample, timesteps, prompts).sample
        text = pipe.text_encoder(recorded["text.input_ids"][:1]).last_hidden_state
    return {"noise": noise, "text": text}


def load(pipe, path, name):
    """`load_lora_weights` in its parts: it does not map the original layout's blocks for Stable Diffusion 1.x, does not find
    CLIP's modules where transformers 5 has them, without `text_model`, and keeps kohya's alphas of attention layers under
    names of processors (`attn1.processor.to_q_lora.down.weight`), which match no module."""
    found = pipe.lora_state_dict(path, unet_config=pipe.unet.config, return_lora_metadata=True)
    state, alphas, metadata = found
    bare = lambda it: None if it is None else {key.replace(".text_model.", "."): value for key, value in it.items()}
    state, alphas = bare(state), bare(alphas)
    if alphas:
        processor = re.compile(r"processor\.(to_\w+)_lora\.down\.weight\.alpha$")
        own = {key: processor.sub(r"\1.alpha", key).replace("to_out.alpha", "to_out.0.alpha") for key in alphas}
        alphas = {own[key]: value for key, value in alphas.items()}
    common = {"network_alphas": alphas, "adapter_name": name, "_pipeline": pipe, "metadata": metadata}
    pipe.load_lora_into_unet(state, unet=pipe.unet, **common)
    if any(key.startswith("text_encoder.") for key in state):
        pipe.load_lora_into_text_encoder(state, text_encoder=pipe.text_encoder, prefix="text_encoder", **common)
        touched = [key for key, it in pipe.text_encoder.named_parameters() if "lora_B" in key and it.abs().max() > 0]
        assert touched, path


def merge_lokr(unet, tensors):
    """By LyCORIS' formula, as diffusers' `_bake_lokr_alpha_` has it: the scale is alpha over rank, and 1 for whole matrices."""
    names = sorted({key.split(".")[0] for key in tensors})
    flat = {name.replace(".", "_"): name for name, _ in unet.named_modules()}
    modules = {f"{prefix}_{key}": name for key, name in flat.items() for prefix in ("lycoris", "lora_unet")}
    for name in names:
        mine = {key.split(".")[1]: it.float() for key, it in tensors.items() if key.split(".")[0] == name}
        is_whole = "lokr_w2" in mine and "lokr_w1" in mine
        module = unet.get_submodule(modules[name])
        rows, columns, *kernel = module.weight.shape
        first = mine["lokr_w1"] if "lokr_w1" in mine else mine["lokr_w1_a"] @ mine["lokr_w1_b"]
        second = mine["lokr_w2"] if "lokr_w2" in mine else mine["lokr_w2_a"] @ mine["lokr_w2_b"]
        second = second.reshape(rows // first.shape[0], columns // first.shape[1], *kernel)
        first = first.reshape(*first.shape, *[1] * len(kernel))
        scale = 1.0 if is_whole else mine["alpha"].item() / RANK
        module.weight.data += scale * torch.kron(first, second)


def flux2():
    """A tiny transformer of FLUX.2, its weights, a LoRA in each layout, and the matrices that diffusers merges."""
    config = dict(
        patch_size=1, in_channels=8, num_layers=2, num_single_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, timestep_guidance_channels=16, mlp_ratio=3.0, axes_dims_rope=(2, 2, 2, 2), guidance_embeds=False,
    )  # fmt: skip

    def model():
        torch.manual_seed(SEED)
        return Flux2Transformer2DModel(**config)

    base = model()
    save_file({key: it.contiguous() for key, it in base.state_dict().items()}, OUT / "flux2.safetensors")
    width = 16
    shapes = {}
    for block in range(2):
        for stream in ("img", "txt"):
            shapes |= {
                f"double_blocks.{block}.{stream}_attn.qkv": (3 * width, width),
                f"double_blocks.{block}.{stream}_attn.proj": (width, width),
                f"double_blocks.{block}.{stream}_mlp.0": (6 * width, width),
                f"double_blocks.{block}.{stream}_mlp.2": (width, 3 * width),
            }
        shapes |= {
            f"single_blocks.{block}.linear1": (3 * width + 6 * width, width),
            f"single_blocks.{block}.linear2": (width, 4 * width),
        }
    outside = {"img_in": (width, 8), "txt_in": (width, 12), "final_layer.linear": (8, width)}

    def factors(rows, columns):
        return (torch.randn(RANK, columns) / columns**0.5).half(), (0.5 * torch.randn(rows, RANK)).half()

    files = {}
    for name in ("bfl", "kohya"):
        files[name] = {}
        for key, shape in (shapes | outside).items():
            down, up = factors(*shape)
            if name == "bfl":
                pair = {f"diffusion_model.{key}.lora_A.weight": down, f"diffusion_model.{key}.lora_B.weight": up}
            else:
                flat = f"lora_unet_{key.replace('.', '_')}"
                pair = {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up, f"{flat}.alpha": torch.tensor(1.0)}
            files[name] |= pair
    files["peft"] = {}
    for key in ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.ff.linear_in", "single_transformer_blocks.1.attn.to_out"):
        down, up = factors(*base.get_submodule(key).weight.shape)
        files["peft"] |= {f"transformer.{key}.lora_A.weight": down, f"transformer.{key}.lora_B.weight": up}
    files["lokr"] = {}
    for key in ("transformer_blocks.0.attn.add_k_proj", "single_transformer_blocks.0.attn.to_qkv_mlp_proj"):
        rows, columns = base.get_submodule(key).weight.shape
        flat = f"lycoris_{key.replace('.', '_')}"
        files["lokr"] |= {
            f"{flat}.lokr_w1": torch.randn(2, 2).half(),
            f"{flat}.lokr_w2_a": (0.3 * torch.randn(rows // 2, RANK)).half(),
            f"{flat}.lokr_w2_b": (0.3 * torch.randn(RANK, columns // 2)).half(),
            f"{flat}.alpha": torch.tensor(1.0),
        }
    # ai-toolkit's, of Black Forest Labs' modules: of a fused projection, of low rank, and of whole matrices.
    files["lokr-bfl"] = {}
    for index, key in enumerate(("double_blocks.1.img_attn.qkv", "double_blocks.0.txt_mlp.2", "single_blocks.1.linear2", "txt_in")):
        rows, columns = (shapes | outside)[key]
        key = f"diffusion_model.{key}"
        files["lokr-bfl"][f"{key}.lokr_w1"] = torch.randn(2, 2).bfloat16()
        if index % 2:
            files["lokr-bfl"][f"{key}.lokr_w2"] = (0.2 * torch.randn(rows // 2, columns // 2)).bfloat16()
        else:
            files["lokr-bfl"][f"{key}.lokr_w2_a"] = (0.3 * torch.randn(rows // 2, RANK)).bfloat16()
            files["lokr-bfl"][f"{key}.lokr_w2_b"] = (0.3 * torch.randn(RANK, columns // 2)).bfloat16()
        files["lokr-bfl"][f"{key}.alpha"] = torch.tensor(2.0 * RANK)

    record = {}
    for name, tensors in files.items():
        path = write("flux2", name, tensors)
        transformer = model()
        state = Flux2LoraLoaderMixin.lora_state_dict(str(path))
        if name == "lokr-bfl":
            transformer.fuse_qkv_projections()
            state = {key: it.float() for key, it in state.items()}
        transformer.load_lora_adapter(state, adapter_name="a", prefix="transformer")
        transformer.fuse_lora(adapter_names=["a"])
        transformer.unload_lora()
        merged, before = unfused(transformer.state_dict()), base.state_dict()
        record |= {f"flux2.{name}.{key}": it for key, it in merged.items() if not torch.equal(it, before[key])}
    return record


def unfused(state):
    """The projections of a fused transformer under the names of their parts."""
    parts = {"attn.to_qkv.": ("to_q", "to_k", "to_v"), "attn.to_added_qkv.": ("add_q_proj", "add_k_proj", "add_v_proj")}
    for fused, names in parts.items():
        for key in [key for key in state if fused in key]:
            thirds = state.pop(key).chunk(3)
            state |= {key.replace(fused, f"attn.{name}."): it.clone() for name, it in zip(names, thirds)}
    return state


if __name__ == "__main__":
    main()
