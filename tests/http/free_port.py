"""Prints a port P such that P to P+2 (for clients) and P+100 to P+102 (for peers) are free."""

import random
import socket


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


while True:
    port = random.randrange(20_000, 29_000, 10)
    if all(is_free(port + offset) for offset in (0, 1, 2, 100, 101, 102)):
        print(port)
        break
