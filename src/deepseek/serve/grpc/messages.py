"""The protocol's messages, built from a table: a field is its number, its type and its name.

    request = ModelInferRequest.FromString(body)

The wire holds numbers and types; names are for reading only. The messages have a descriptor pool of their own, so that
another package of this process may define the protocol too.

Source of numbers and types: Open Inference Protocol, inference_grpc.md; the repository, stream, config and parameter
messages are Triton's; health is grpc.health.v1.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

PACKAGE = "inference"
_TENSOR = (
    "1 string name; 2 string datatype; 3 int64* shape; 4 map InferParameter parameters; 5 InferTensorContents contents"
)
_INDEX = "1 string name; 2 string version; 3 string state; 4 string reason"
#: A type with * is repeated; `map T` is a map from strings; `one` marks fields of which one is set; a type in capitals
#: is another message of this table.
MESSAGE_TABLE = {
    "Nothing": "",
    "ServerLiveResponse": "1 bool live",
    "ServerReadyResponse": "1 bool ready",
    "ModelReadyResponse": "1 bool ready",
    "ServerMetadataResponse": "1 string name; 2 string version; 3 string* extensions",
    "ModelRequest": "1 string name; 2 string version",
    "TensorMetadata": "1 string name; 2 string datatype; 3 int64* shape",
    "ModelMetadataResponse": "1 string name; 2 string* versions; 3 string platform; 4 TensorMetadata* inputs; "
    "5 TensorMetadata* outputs",
    "InferParameter": "1 one bool bool_param; 2 one int64 int64_param; 3 one string string_param; "
    "4 one double double_param; 5 one uint64 uint64_param",
    "InferTensorContents": "1 bool* bool_contents; 2 int32* int_contents; 3 int64* int64_contents; "
    "4 uint32* uint_contents; 5 uint64* uint64_contents; 6 float* fp32_contents; 7 double* fp64_contents; "
    "8 bytes* bytes_contents",
    "InferTensor": _TENSOR,
    "InferRequestedOutput": "1 string name; 2 map InferParameter parameters",
    "ModelInferRequest": "1 string model_name; 2 string model_version; 3 string id; 4 map InferParameter parameters; "
    "5 InferTensor* inputs; 6 InferRequestedOutput* outputs; 7 bytes* raw_input_contents",
    "ModelInferResponse": "1 string model_name; 2 string model_version; 3 string id; 4 map InferParameter parameters; "
    "5 InferTensor* outputs; 6 bytes* raw_output_contents",
    "ModelStreamInferResponse": "1 string error_message; 2 ModelInferResponse infer_response",
    "ConfigInput": "1 string name; 2 int32 data_type; 4 int64* dims",
    "ConfigOutput": "1 string name; 2 int32 data_type; 3 int64* dims",
    "Config": "1 string name; 2 string platform; 4 int32 max_batch_size; 5 ConfigInput* input; 6 ConfigOutput* output; "
    "17 string backend",
    "ModelConfigResponse": "1 Config config",
    "RepositoryIndexRequest": "1 string repository_name; 2 bool ready",
    "RepositoryParameter": "1 one bool bool_param; 2 one int64 int64_param; 3 one string string_param; "
    "4 one bytes bytes_param",
    "RepositoryModelRequest": "1 string repository_name; 2 string model_name; 3 map RepositoryParameter parameters",
    "ModelIndex": _INDEX,
    "RepositoryIndexResponse": "1 ModelIndex* models",
    "HealthCheckRequest": "1 string service",
    "HealthCheckResponse": "1 int32 status",
}


def _build_classes() -> dict[str, type[Message]]:
    """Message classes by name, built from the table."""
    file = descriptor_pb2.FileDescriptorProto(name="deepseek/inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGE_TABLE.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split("; ")):
            _add_field(message, text.split(" "))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGE_TABLE
    }  # fmt: skip


def _add_field(message: Any, words: list[str]) -> None:
    """Add one field to a message."""
    number, *kind, name = words
    if kind[0] == "map":
        entry = message.nested_type.add(name=name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        _add_field(entry, ["1", "string", "key"])
        _add_field(entry, ["2", kind[1], "value"])
        kind = [f"{message.name}.{entry.name}*"]
    field = message.field.add(name=name, number=int(number))
    if kind[0] == "one":
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index = 0
    word = kind[-1]
    field.label = field.LABEL_REPEATED if word[-1] == "*" else field.LABEL_OPTIONAL
    word = word.removesuffix("*")
    if word[0].isupper():
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{word}"
    else:
        field.type = getattr(field, f"TYPE_{word.upper()}")


_classes = _build_classes()


def message_class(name: str) -> Any:
    """The class of a message in the table."""
    return _classes[name]


Nothing = message_class("Nothing")
ServerLiveResponse = message_class("ServerLiveResponse")
ServerReadyResponse = message_class("ServerReadyResponse")
ModelReadyResponse = message_class("ModelReadyResponse")
ServerMetadataResponse = message_class("ServerMetadataResponse")
ModelRequest = message_class("ModelRequest")
ModelMetadataResponse = message_class("ModelMetadataResponse")
ModelInferRequest = message_class("ModelInferRequest")
ModelInferResponse = message_class("ModelInferResponse")
ModelStreamInferResponse = message_class("ModelStreamInferResponse")
ModelConfigResponse = message_class("ModelConfigResponse")
RepositoryIndexRequest = message_class("RepositoryIndexRequest")
RepositoryIndexResponse = message_class("RepositoryIndexResponse")
RepositoryModelRequest = message_class("RepositoryModelRequest")
HealthCheckRequest = message_class("HealthCheckRequest")
HealthCheckResponse = message_class("HealthCheckResponse")
