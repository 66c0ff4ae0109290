"""Protobuf messages of other projects' schemas, of which the fields wanted are declared here."""

from __future__ import annotations

from typing import Any


def new_message(schema: Any, name: str) -> Any:
    """An empty message.

    Args:
        schema: the `FileDescriptorProto` that declares it; other fields are skipped in reading.
        name: of the message, with its package.
    """
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()


def parse_message(message: Any, data: bytes) -> None:
    """Fill a message.

    Raises:
        ValueError: the bytes are no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error
