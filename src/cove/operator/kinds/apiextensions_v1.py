"""The types of apiextensions/v1, made by ``scripts/generate_kinds.py``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from cove.operator.entities import Kind, Part, builtin, field
from cove.operator.markers import Int32, ListMap, Required

__all__ = [
    "CustomResourceColumnDefinition",
    "CustomResourceConversion",
    "CustomResourceDefinition",
    "CustomResourceDefinitionCondition",
    "CustomResourceDefinitionNames",
    "CustomResourceDefinitionSpec",
    "CustomResourceDefinitionStatus",
    "CustomResourceDefinitionVersion",
    "CustomResourceSubresourceScale",
    "CustomResourceSubresourceStatus",
    "CustomResourceSubresources",
    "CustomResourceValidation",
    "ExternalDocumentation",
    "JSONSchemaProps",
    "SelectableField",
    "ServiceReference",
    "ValidationRule",
    "WebhookClientConfig",
    "WebhookConversion",
]


class CustomResourceDefinitionNames(Part):
    plural: Annotated[str, Required()] = ""
    singular: str = ""
    short_names: list[str] = []
    kind: Annotated[str, Required()] = ""
    list_kind: str = ""
    categories: list[str] = []


class ExternalDocumentation(Part):
    description: str = ""
    url: str = ""


class ValidationRule(Part):
    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str | None = None
    field_path: str = ""
    optional_old_self: bool | None = None


class JSONSchemaProps(Part):
    id: str = ""
    schema: str = field(default="", name="$schema")
    ref: str | None = field(default=None, name="$ref")
    description: str = ""
    type: str = ""
    format: str = ""
    title: str = ""
    default: Any = None
    maximum: float | None = None
    exclusive_maximum: bool = False
    minimum: float | None = None
    exclusive_minimum: bool = False
    max_length: int | None = None
    min_length: int | None = None
    pattern: str = ""
    max_items: int | None = None
    min_items: int | None = None
    unique_items: bool = False
    multiple_of: float | None = None
    enum: list[Any] = []
    max_properties: int | None = None
    min_properties: int | None = None
    required: list[str] = []
    items: Any = None
    all_of: list[JSONSchemaProps] = []
    one_of: list[JSONSchemaProps] = []
    any_of: list[JSONSchemaProps] = []
    not_: JSONSchemaProps | None = None
    properties: dict[str, JSONSchemaProps] = {}
    additional_properties: Any = None
    pattern_properties: dict[str, JSONSchemaProps] = {}
    dependencies: dict[str, Any] = {}
    additional_items: Any = None
    definitions: dict[str, JSONSchemaProps] = {}
    external_docs: ExternalDocumentation | None = None
    example: Any = None
    nullable: bool = False
    x_kubernetes_preserve_unknown_fields: bool | None = field(
        default=None, name="x-kubernetes-preserve-unknown-fields"
    )
    x_kubernetes_embedded_resource: bool = field(
        default=False, name="x-kubernetes-embedded-resource"
    )
    x_kubernetes_int_or_string: bool = field(default=False, name="x-kubernetes-int-or-string")
    x_kubernetes_list_map_keys: list[str] = field(
        default_factory=list, name="x-kubernetes-list-map-keys"
    )
    x_kubernetes_list_type: str | None = field(default=None, name="x-kubernetes-list-type")
    x_kubernetes_map_type: str | None = field(default=None, name="x-kubernetes-map-type")
    x_kubernetes_validations: Annotated[list[ValidationRule], ListMap("rule")] = field(
        default_factory=list, name="x-kubernetes-validations"
    )


class CustomResourceValidation(Part):
    open_apiv3_schema: JSONSchemaProps | None = field(default=None, name="openAPIV3Schema")


class CustomResourceSubresourceStatus(Part):
    pass


class CustomResourceSubresourceScale(Part):
    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str | None = None


class CustomResourceSubresources(Part):
    status: CustomResourceSubresourceStatus | None = None
    scale: CustomResourceSubresourceScale | None = None


class CustomResourceColumnDefinition(Part):
    name: str
    type: str
    format: str = ""
    description: str = ""
    priority: Int32 = 0
    json_path: str


class SelectableField(Part):
    json_path: str


class CustomResourceDefinitionVersion(Part):
    name: str
    served: bool
    storage: bool
    deprecated: bool = False
    deprecation_warning: str | None = None
    schema: CustomResourceValidation | None = None
    subresources: CustomResourceSubresources | None = None
    additional_printer_columns: list[CustomResourceColumnDefinition] = []
    selectable_fields: list[SelectableField] = []


class ServiceReference(Part):
    namespace: str
    name: str
    path: str | None = None
    port: Int32 | None = None


class WebhookClientConfig(Part):
    url: str | None = None
    service: ServiceReference | None = None
    ca_bundle: bytes = b""


class WebhookConversion(Part):
    client_config: WebhookClientConfig | None = None
    conversion_review_versions: Annotated[list[str], Required()] = []


class CustomResourceConversion(Part):
    strategy: str
    webhook: WebhookConversion | None = None


class CustomResourceDefinitionSpec(Part):
    group: str
    names: CustomResourceDefinitionNames
    scope: str
    versions: Annotated[list[CustomResourceDefinitionVersion], Required()] = []
    conversion: CustomResourceConversion | None = None
    preserve_unknown_fields: bool = False


class CustomResourceDefinitionCondition(Part):
    type: str
    status: str
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""
    observed_generation: int = 0


class CustomResourceDefinitionStatus(Part):
    conditions: Annotated[list[CustomResourceDefinitionCondition], ListMap("type")] = []
    accepted_names: CustomResourceDefinitionNames = field(
        default_factory=CustomResourceDefinitionNames
    )
    stored_versions: list[str] = []
    observed_generation: int = 0


@builtin(
    "apiextensions.k8s.io/v1",
    "customresourcedefinitions",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    scope="Cluster",
)
class CustomResourceDefinition(Kind):
    spec: CustomResourceDefinitionSpec
    status: CustomResourceDefinitionStatus = field(default_factory=CustomResourceDefinitionStatus)
