//! The namespace of an object: its own, the command line's, or `default`.

use serde_json::json;
use tortie_api::kind::Scope;

use super::Item;

/// Settle the namespace of `item`, by the rules and in the words of calicoctl.
pub fn resolve(item: &mut Item, given: Option<&str>, all: bool) -> Result<(), String> {
    let given = given.unwrap_or_default();
    let own = item.json["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let kind = item.kind.name();
    if item.kind.scope() == Scope::Cluster {
        return match (own.as_str(), given, all) {
            ("", "", false) => Ok(()),
            ("", ..) => Err(format!("{kind} is not namespaced")),
            _ => Err(format!(
                "namespace should not be specified for a non-namespaced resource. {kind} is not a namespaced resource"
            )),
        };
    }
    let settled = match (own.as_str(), given, all) {
        (_, given, true) if !given.is_empty() => {
            return Err("cannot use both --namespace and --all-namespaces flags at the same time".to_owned());
        }
        (_, _, true) => "",
        ("", "", false) => "default",
        ("", given, false) => given,
        (own, "", false) => own,
        (own, given, false) if own != given => {
            return Err(format!("resource namespace does not match client namespace. {own} != {given}"));
        }
        (own, _, false) => own,
    };
    item.json["metadata"]["namespace"] = json!(settled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tortie_api::kind::Kind;

    #[test]
    fn the_namespace_is_settled_as_calicoctl_does() {
        let namespaced = [
            ("", "", false, Ok("default")),
            ("", "n", false, Ok("n")),
            ("own", "", false, Ok("own")),
            ("own", "own", false, Ok("own")),
            ("own", "n", false, Err("resource namespace does not match client namespace. own != n")),
            ("", "", true, Ok("")),
            ("own", "", true, Ok("")),
            ("", "n", true, Err("cannot use both --namespace and --all-namespaces flags at the same time")),
        ];
        let cluster = [
            ("", "", false, Ok("")),
            ("", "n", false, Err("Tier is not namespaced")),
            ("", "", true, Err("Tier is not namespaced")),
            (
                "own",
                "",
                false,
                Err(
                    "namespace should not be specified for a non-namespaced resource. Tier is not a namespaced resource",
                ),
            ),
        ];
        let kinds = [(Kind::NetworkPolicy, &namespaced[..]), (Kind::Tier, &cluster[..])];
        for (kind, rows) in kinds {
            for (own, given, all, expected) in rows.iter().copied() {
                let metadata = json!({ "name": "x", "namespace": own });
                let mut item = Item { kind, json: json!({ "metadata": metadata }), source: None };
                let outcome = resolve(&mut item, Some(given), all);
                let settled = item.json["metadata"]["namespace"].as_str().unwrap_or_default();
                assert_eq!(
                    outcome.as_ref().map(|()| settled).map_err(String::as_str),
                    expected,
                    "{own} {given} {all}"
                );
            }
        }
    }
}
