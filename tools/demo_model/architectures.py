"""The kinds of models that can be trained."""

from architecture import Architecture
from instruct_pix2pix import InstructPix2Pix
from klein.architecture import Klein
from models import KleinShape, Preset, UNetShape

ARCHITECTURES: dict[type, type[Architecture]] = {UNetShape: InstructPix2Pix, KleinShape: Klein}


def of(preset: Preset) -> type[Architecture]:
    """Returns the architecture of a preset's networks."""
    return ARCHITECTURES[type(preset.networks)]


def of_pipeline(name: str) -> type[Architecture]:
    """Returns the architecture of diffusers' pipeline of that name."""
    return next(kind for kind in ARCHITECTURES.values() if kind.pipeline_class.__name__ == name)
