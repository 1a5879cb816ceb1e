"""The structures of ``native_src/program.h``, field by field."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_void_p


class SynapseStruct(ctypes.Structure):
    """``native::Synapse``."""

    _fields_ = [
        *((name, c_int32) for name in ("source", "form", "kernel_h", "kernel_w", "stride")),
        *((name, c_int32) for name in ("padding", "width")),
        *((name, c_void_p) for name in ("scale", "weight")),
    ]


class NodeStruct(ctypes.Structure):
    """``native::Node``."""

    _fields_ = [
        *((name, c_int32) for name in ("kind", "height", "width", "channels", "lanes", "steps")),
        *((name, c_int32) for name in ("offset", "pad", "wide", "shorts")),
        *((name, c_void_p) for name in ("spikes", "wide_spikes", "mask", "tracer", "silence")),
        *((name, c_int32) for name in ("source", "kernel_h", "kernel_w", "stride", "padding")),
        *((name, c_int32) for name in ("synapses", "blocks")),
        ("synapse", c_void_p),
        *((name, c_int32) for name in ("group", "row_bytes", "top", "fours")),
        *((name, c_void_p) for name in ("weight", "correction", "silent", "centred")),
        *((name, c_int32) for name in ("row_words", "n_min", "n_max", "taps")),
        *((name, c_void_p) for name in ("wide_weight", "threshold", "inverse", "start")),
        *((name, c_void_p) for name in ("recurrent", "before", "v")),
        *((name, c_int64) for name in ("counts_at", "activity_at", "trace_at", "carry")),
    ]


class CarryStruct(ctypes.Structure):
    """``native::Carry``."""

    _fields_ = [
        ("values", c_void_p),
        *((name, c_int64) for name in ("stride_n", "stride_c", "stride_h", "stride_w")),
    ]


class PartStruct(ctypes.Structure):
    """``native::Part``; the library fills these in, so only their size matters here."""

    _fields_ = [
        ("from", c_void_p),
        *((name, c_int64) for name in ("step", "segments", "bytes", "stride", "at")),
    ]


class ProgramStruct(ctypes.Structure):
    """``native::Program``."""

    _fields_ = [
        ("nodes", c_void_p),
        *((name, c_int64) for name in ("node_count", "whole", "incremental", "chunk")),
        *((name, c_void_p) for name in ("wide_rows", "charge", "correction", "parts", "vector")),
    ]


class CallStruct(ctypes.Structure):
    """``native::Call``."""

    _fields_ = [
        ("frame", c_void_p),
        *((name, c_int64) for name in ("batch", "limit")),
        *((name, c_void_p) for name in ("carry", "results")),
        ("result_size", c_int64),
        *((name, c_void_p) for name in ("settle_steps", "busy", "trace")),
        *((name, c_int64) for name in ("trace_steps", "trace_size")),
        *((name, c_void_p) for name in ("membranes", "last_frame", "last_results")),
        *((name, c_void_p) for name in ("last_membranes", "quiet")),
    ]


STRUCTURES = (SynapseStruct, NodeStruct, CarryStruct, PartStruct, ProgramStruct, CallStruct)
