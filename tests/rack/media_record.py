"""The ISO that a boot's record stands for, put together here, to be compared with what inox-media gives."""
import hashlib
import re


def compose(http_root, record):
    head, rest = record.split(b"\n\n", 1)
    lines = head.decode().split("\n")
    assert lines[0] == "inox-media 1" and re.fullmatch(r"node [0-9a-f-]{36}", lines[1])
    fields = dict(line.split(" ") for line in lines[2:5])
    iso = bytearray((http_root / fields["base"]).read_bytes())
    assert len(iso) == int(fields["size"]) and hashlib.sha256(iso).hexdigest() == fields["sha256"]
    for offset, length in patches_of(record):
        iso[offset:offset + length], rest = rest[:length], rest[length:]
    assert rest == b""
    return bytes(iso)


def patches_of(record):
    """(offset, length) of each."""
    lines = record.split(b"\n\n", 1)[0].decode().split("\n")[5:]
    return [tuple(int(n) for n in re.fullmatch(r"patch (\d+) (\d+)", line).groups()) for line in lines]
