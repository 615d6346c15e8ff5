//! Objects from files: one, a directory's, or standard input's.

use std::io::ErrorKind;
use std::path::Path;

use tortie_api::decode::{self, Decoded, Object};
use tortie_api::fault::Fault;

use super::{Failure, Item, Source, is_handled};
use crate::command::input;

/// The objects of a file, of all YAML and JSON files of a directory, or of standard input (`-`).
///
/// # Errors
/// [`Failure`], with every fault of the first file that has one.
pub fn read(path: &Path, recursive: bool, skip_empty: bool) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    for input::Input { name, text } in
        input::read(path, recursive).map_err(|error| unreadable(path, &error))?
    {
        let mut decoded = decode::decode(&text);
        refuse_others(&mut decoded);
        let objects =
            decoded.into_objects().map_err(|faults| Failure::File { name: name.clone(), faults })?;
        if objects.is_empty() && !skip_empty {
            return Err(Failure::Empty(format!("No resources specified in file {name}")));
        }
        items.extend(objects.into_iter().map(|object| {
            let Object { kind, json, places } = object;
            Item { kind, json, source: Some(Source { file: name.clone(), places }) }
        }));
    }
    match (items.is_empty(), skip_empty) {
        (false, _) => Ok(items),
        (true, true) => Err(Failure::Nothing),
        (true, false) => {
            Err(Failure::Empty(format!("No resources specified in directory {}", path.display())))
        }
    }
}

/// A file that can't be read, in Go's words where it isn't there.
fn unreadable(path: &Path, error: &anyhow::Error) -> Failure {
    let missing = error.root_cause().downcast_ref::<std::io::Error>();
    let message = match missing.map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) => format!("open {}: no such file or directory", path.display()),
        _ => format!("{error:#}"),
    };
    Failure::File { name: String::new(), faults: vec![Fault::new("", message)] }
}

/// Kinds that exist, but not for commands, are as unknown as others.
fn refuse_others(decoded: &mut Decoded) {
    for document in &mut decoded.documents {
        let Some(object) = &document.object else { continue };
        let kind = object.kind;
        if !is_handled(kind) {
            let message =
                format!("unknown resource type ({}) and/or version ({})", kind.name(), kind.api().version());
            let fault = Fault::new("kind", message).expected("a kind that commands handle");
            document.faults = object.place(vec![fault]);
        }
    }
}
