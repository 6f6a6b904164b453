"""Our messages are those of the official client, field by field."""

from __future__ import annotations

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from deepseek.serve.grpc import messages

#: Ours -> the official one, where they are not called the same.
OFFICIAL = {
    "Nothing": "ServerLiveRequest",
    "ModelRequest": "ModelMetadataRequest",
    "TensorMetadata": "ModelMetadataResponse.TensorMetadata",
    "InferTensor": "ModelInferRequest.InferInputTensor",
    "InferRequestedOutput": "ModelInferRequest.InferRequestedOutputTensor",
    "ModelIndex": "RepositoryIndexResponse.ModelIndex",
    "RepositoryParameter": "ModelRepositoryParameter",
    "RepositoryModelRequest": "RepositoryModelLoadRequest",
    "Config": "ModelConfig",
    "ConfigInput": "ModelInput",
    "ConfigOutput": "ModelOutput",
}
NAMES = [name for name in messages.MESSAGE_TABLE if not name.startswith("HealthCheck")]


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_the_number_and_the_wire_type_of_the_official_one(name: str) -> None:
    ours = messages.message_class(name).DESCRIPTOR
    first, *rest = OFFICIAL.get(name, name).split(".")
    module = model_config_pb2 if "onfig" in ours.name and "Response" not in ours.name else service_pb2
    official = module.DESCRIPTOR.message_types_by_name[first]
    for nested in rest:
        official = official.nested_types_by_name[nested]
    known = {field.name: field for field in official.fields}
    for field in ours.fields:
        there = known[field.name]
        as_ours = field.TYPE_INT32 if there.type == field.TYPE_ENUM else there.type
        assert (field.number, field.type, field.is_repeated) == (there.number, as_ours, there.is_repeated), field.name
        assert (field.containing_oneof is None) == (there.containing_oneof is None)


def test_parameters_are_maps() -> None:
    request = service_pb2.ModelInferRequest(model_name="m")
    request.parameters["timeout"].int64_param = 5
    message = messages.ModelInferRequest.FromString(request.SerializeToString())
    assert message.parameters["timeout"].int64_param == 5
    assert message.SerializeToString() == request.SerializeToString()
