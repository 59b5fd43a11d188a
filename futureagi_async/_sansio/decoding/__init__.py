"""Bytes of the server -> models. `converter` says how, and lists the quirks."""

from futureagi_async._sansio.decoding.converter import (
    ListBody,
    build_page,
    converter,
    decode_call,
    decode_columns,
    decode_groups,
    decode_kpis,
    decode_list,
    decode_list_in_turns,
    decode_record,
    decode_records,
)
from futureagi_async._sansio.decoding.fragments import Checks
from futureagi_async._sansio.decoding.kpis import mark_collisions

__all__ = [
    "Checks",
    "ListBody",
    "build_page",
    "converter",
    "decode_call",
    "decode_columns",
    "decode_groups",
    "decode_kpis",
    "decode_list",
    "decode_list_in_turns",
    "decode_record",
    "decode_records",
    "mark_collisions",
]
