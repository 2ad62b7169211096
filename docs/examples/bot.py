#!/usr/bin/env python3
"""A bot that answers "!time", over the daemon's socket, with msgpack from PyPI (Debian: python3-msgpack).

CHATD_SOCKET names the socket. CHATD_TOKEN may hold a token; made by

    chatctl token create --name bot --allow read,send

Every message is handled at least once, whatever is killed: what is not acknowledged comes again. The id of an answer follows
from its question's, so that an answer that is sent twice is one message.
"""

import os
import socket
import time

import msgpack

connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ.get("CHATD_SOCKET", "/run/chatd/chatd.sock"))
incoming = msgpack.Unpacker(connection.makefile("rb", buffering=0))
events = []
number = 0


def call(method, **params):
    """One call; events that come before its answer are kept."""
    global number
    number += 1
    connection.sendall(msgpack.packb([0, number, method, [params]]))
    for message in incoming:
        if message[0] == 2:
            events.append(message[2][0])
        elif message[1] == number:
            if message[2] is not None:
                raise SystemExit(f"{method}: {message[2][0]}: {message[2][1]}")
            return message[3]
    raise SystemExit("the daemon has closed the connection")


def next_event():
    while not events:
        message = next(incoming, None)
        if message is None:
            raise SystemExit("the daemon has closed the connection")
        if message[0] == 2:
            events.append(message[2][0])
    return events.pop(0)


def answer_id(question):
    head, tail = question.rsplit("-", 1)
    return f"{head}-{tail.translate(str.maketrans('0123456789abcdef', '123456789abcdef0'))}"


if "CHATD_TOKEN" in os.environ:
    call("system.hello", client="bot.py", token=os.environ["CHATD_TOKEN"])
call("feed.subscribe", consumer="bot", types=["message.received"])
while True:
    event = next_event()
    question = event["message"]
    if question["body"].startswith("!time"):
        call(
            "message.send",
            to="id:" + event["peer"],
            body=time.strftime("it is %H:%M"),
            reply_to=question["id"],
            id=answer_id(question["id"]),
        )
    call("feed.ack", consumer="bot", seq=event["seq"])
