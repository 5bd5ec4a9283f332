"""As much of protobuf's wire format as the calls of this test need."""

import struct


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def message(*fields: tuple[int, bytes | str]) -> bytes:
    """A message of texts, bytes and other messages, by their numbers."""
    out = b""
    for number, value in fields:
        data = value.encode() if isinstance(value, str) else value
        out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def fields(data: bytes) -> dict[int, list]:
    """The values of a message's fields by their numbers: integers, doubles and bytes."""
    found: dict[int, list] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        match key & 7:
            case 0:
                value = number()
            case 1:
                (value,) = struct.unpack_from("<d", data, at)
                at += 8
            case 2:
                size = number()
                value = data[at : at + size]
                at += size
            case other:
                raise ValueError(f"wire type {other}")
        found.setdefault(key >> 3, []).append(value)
    return found
