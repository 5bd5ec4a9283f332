//! Conversion of protobuf messages to and from JSON by protobuf's JSON mapping, with the schema's field names.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value};

use crate::wire::{
    FILE_DESCRIPTOR_SET,
    v1::{EditJob, EditSpec},
};

/// A job as JSON; clear the bytes of its pictures first.
pub fn job(job: &EditJob) -> Value {
    let mut message = DynamicMessage::new(descriptor("EditJob"));
    message.transcode_from(job).expect("a message fits its own descriptor");
    let options = SerializeOptions::new().use_proto_field_name(true);
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    json.expect("a message becomes JSON")
}

/// Parses a spec from JSON. Fields may have their schema or JSON name, enum values their full or short lowercase name,
/// such as `remove` for `ACTION_REMOVE`.
///
/// # Errors
/// One line that names the field and what is wrong with it.
pub fn spec(mut fields: Map<String, Value>) -> Result<EditSpec, String> {
    let spec = descriptor("EditSpec");
    for (name, value) in &mut fields {
        let field = spec.get_field_by_name(name).or_else(|| spec.get_field_by_json_name(name));
        if let Some(field) = field {
            lengthen(&field, value);
        }
    }
    let message = DynamicMessage::deserialize(spec, Value::Object(fields));
    let message = message.map_err(|error| error.to_string())?;
    EditSpec::decode(message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

/// Whether a message of the schema has a field at this path, such as `mask.dilate_px`.
pub fn has_field(message: &str, path: &str) -> bool {
    let mut message = Some(descriptor(message));
    path.split('.').all(|name| {
        let field = message.as_ref().and_then(|it| it.get_field_by_name(name));
        message = field.as_ref().and_then(|it| it.kind().as_message().cloned());
        field.is_some()
    })
}

/// Replaces short names of enum values by the schema's.
fn lengthen(field: &FieldDescriptor, value: &mut Value) {
    let (Kind::Enum(names), Value::String(text)) = (field.kind(), &*value) else { return };
    let unset = names.values().next().map(|it| it.name().to_owned()).unwrap_or_default();
    let prefix = unset.trim_end_matches("UNSPECIFIED");
    let long = format!("{prefix}{}", text.to_uppercase().replace(['-', ' '], "_"));
    if names.get_value_by_name(&long).is_some() {
        *value = Value::String(long);
    }
}

fn descriptor(message: &str) -> MessageDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the schema's descriptors are sound")
    });
    let found = pool.get_message_by_name(&format!("retouch.v1.{message}"));
    found.unwrap_or_else(|| panic!("the schema has no `{message}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::v1::{Action, Scheduler};

    fn read(value: Value) -> Result<EditSpec, String> {
        let Value::Object(fields) = value else { panic!("an object") };
        spec(fields)
    }

    #[test]
    fn a_spec_is_read_by_either_name_of_its_fields() {
        let found = read(json!({"text_guidance": 4.5, "localizeSteps": 3, "seed": 7})).unwrap();
        assert_eq!(found.text_guidance, Some(4.5));
        assert_eq!(found.localize_steps, Some(3));
        assert_eq!(found.seed, Some(7));
    }

    #[test]
    fn enum_values_may_be_short() {
        let found = read(json!({"action": "remove", "scheduler": "SCHEDULER_DDIM"})).unwrap();
        assert_eq!(found.action(), Action::Remove);
        assert_eq!(found.scheduler(), Scheduler::Ddim);
    }

    #[test]
    fn what_the_schema_does_not_know_is_refused_by_name() {
        assert!(read(json!({"stepz": 3})).unwrap_err().contains("stepz"));
        assert!(read(json!({"action": "explode"})).unwrap_err().contains("explode"));
    }

    #[test]
    fn paths_of_fields_are_found() {
        assert!(has_field("EditSpec", "mask.clusters.ids"));
        assert!(has_field("EditSpec", "resize.fit"));
        assert!(!has_field("EditSpec", "mask.color"));
        assert!(!has_field("EditSpec", "steps.count"));
    }
}
