"""Client of a retouch server: localized, instruction-based image editing. docs/python.md is its manual.

    from retouch_client import Client

    with Client("http://localhost:50051") as client:
        result = client.edit("star.png", "make the red star blue", seed=7)
        result.save("blue.png")
"""

from retouch_client import edit_pb2
from retouch_client.aio import AsyncClient
from retouch_client.client import Client
from retouch_client.edits import Edit, Settings
from retouch_client.errors import AnswerUnusable, InputError, JobFailed, Refused, RetouchError, Unreachable, remedy
from retouch_client.masks import Accept, AnyMask, Box, Decision, Mask, Proposal
from retouch_client.pictures import Picture
from retouch_client.progress import pass_of
from retouch_client.results import Outcome, Result

__all__ = [
    "Accept",
    "AnswerUnusable",
    "AnyMask",
    "AsyncClient",
    "Box",
    "Client",
    "Decision",
    "Edit",
    "InputError",
    "JobFailed",
    "Mask",
    "Outcome",
    "Picture",
    "Proposal",
    "Refused",
    "Result",
    "RetouchError",
    "Settings",
    "Unreachable",
    "edit_pb2",
    "pass_of",
    "remedy",
]
