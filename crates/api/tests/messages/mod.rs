//! What users are told of an object that is refused.

use tortie_api::decode::decode;
use tortie_api::validate::check;

/// The messages of all faults of an object of a kind with this name and `spec`.
pub fn messages(kind: &str, name: &str, spec: &str) -> Vec<String> {
    let text =
        format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    let decoded = check(decode(&text), "default");
    let faults = decoded.faults.iter().chain(decoded.documents.iter().flat_map(|document| &document.faults));
    faults
        .map(|fault| {
            let blank = fault.found.is_empty() || fault.expected.is_empty() || fault.field.is_empty();
            assert!(!blank && fault.line > 0, "{fault:?}");
            fault.message.clone()
        })
        .collect()
}
