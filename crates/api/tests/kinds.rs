//! Every kind with every field: known, and not lost on the way in and out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "messages/sample.rs"]
mod sample;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tortie_api::decode::decode;
use tortie_api::kind::{Api, Kind};
use tortie_api::registry;
use tortie_api::schema::{Shape, Struct};
use tortie_api::yaml;

use sample::sample;

/// All types under a shape, by their names in Go, with the names of their fields.
fn types(shape: &'static Shape, found: &mut BTreeMap<&'static str, BTreeSet<&'static str>>) {
    match shape {
        Shape::Struct(Struct { go_name, fields }) => {
            found.entry(go_name).or_default().extend(fields.iter().map(|field| field.name));
            fields.iter().for_each(|field| types(field.shape, found));
        }
        Shape::List(inner) | Shape::Map(inner) => types(inner, found),
        _ => {}
    }
}

#[test]
fn every_type_and_field_of_calicos_api_is_known() {
    let mut known = BTreeMap::new();
    for kind in Kind::ALL.iter().filter(|kind| kind.api() == Api::Calico) {
        types(registry::shape(*kind), &mut known);
    }
    let lines = include_str!("vectors/fields.txt").lines().filter(|line| !line.starts_with('#'));
    let mut fields = 0;
    for line in lines {
        let (name, wanted) = line.split_once(": ").unwrap();
        let known = known.get(name).unwrap_or_else(|| panic!("{name} is not known"));
        for field in wanted.split(' ') {
            assert!(known.contains(field), "{name}.{field} is not known; there are {known:?}");
            fields += 1;
        }
    }
    assert!(fields > 550, "{fields}");
}

#[test]
fn an_object_with_all_fields_survives_yaml_decoding_and_its_rust_type() {
    for kind in Kind::ALL {
        let mut object = sample(registry::shape(*kind), &mut 0);
        let head: Map<String, Value> = [("apiVersion", kind.api().version()), ("kind", kind.name())]
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into_iter()
            .collect();
        object.as_object_mut().unwrap().extend(head);
        let text = yaml::to_string(&object);
        let mut objects =
            decode(&text).into_objects().unwrap_or_else(|faults| panic!("{kind}: {faults:#?}\n{text}"));
        assert_eq!(objects.len(), 1);
        let decoded = objects.remove(0);
        assert_eq!((decoded.kind, &decoded.json), (*kind, &object), "{kind}");
        // Through the type once more, which decode leaves out for Kubernetes' own kinds.
        assert_eq!(registry::normalise(*kind, &decoded.json).unwrap(), object, "{kind}");
        assert_eq!(yaml::to_string(&object), text);
    }
}

#[test]
fn every_field_is_found_by_its_name_in_any_case() {
    for kind in Kind::ALL {
        let mut known = BTreeMap::new();
        types(registry::shape(*kind), &mut known);
        for (name, fields) in known {
            let lower: BTreeSet<_> = fields.iter().map(|field| field.to_lowercase()).collect();
            assert_eq!(lower.len(), fields.len(), "{name}: two fields differ only in case");
        }
    }
}

/// Full samples as users write them: all of it is taken and nothing of it lost.
#[test]
fn samples_of_each_topic_are_taken_whole() {
    let text = include_str!("vectors/samples.yaml");
    let decoded = tortie_api::validate::check(decode(text), "default");
    let faults: Vec<_> =
        decoded.documents.iter().flat_map(|document| &document.faults).map(ToString::to_string).collect();
    assert_eq!((decoded.faults.len(), faults), (0, Vec::new()));
    let kinds: BTreeSet<_> =
        decoded.documents.iter().filter_map(|document| Some(document.object.as_ref()?.kind)).collect();
    let missing: Vec<_> =
        Kind::ALL.iter().filter(|kind| kind.api() == Api::Calico && !kinds.contains(kind)).collect();
    assert_eq!(missing, Vec::<&Kind>::new());
}
