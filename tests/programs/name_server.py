"""A resolver for tests: name_server.py ADDRESS NAME=ADDRESS…; every other name does not exist (RFC 1035)."""

import ipaddress
import socket
import sys

_A, _AAAA = 1, 28


def answer(question: bytes, names: dict[str, str]) -> bytes:
    """Answer the one question of a message."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind = int.from_bytes(question[at + 1 : at + 3], "big")
    address = names.get(".".join(labels).lower())
    packed = ipaddress.ip_address(address).packed if address else b""
    data = packed if packed and kind == (_A if len(packed) == 4 else _AAAA) else b""
    flags = 0x8180 | (0 if address else 3)
    head = question[:2] + flags.to_bytes(2, "big") + b"\0\1" + (b"\0\1" if data else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\5" + len(data).to_bytes(2, "big") + data
    return head + question[12 : at + 5] + (record if data else b"")


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind((sys.argv[1], 53))
    print("ready", flush=True)
    while True:
        message, sender = server.recvfrom(4096)
        server.sendto(answer(message, dict(word.split("=") for word in sys.argv[2:])), sender)
